//! Couriers are children of the keeper, like all others.

use std::path::PathBuf;
use std::rc::Rc;

use crate::hooks::process::session::SandboxPolicy;
use crate::host::children::http_worker::{Couriers, Hired};
use crate::keeper::{Client, Role};

/// Couriers that this keeper starts; they believe the certificates in `ca_file` beside those of the
/// system, unless the keeper is a daemon's: then it names the file.
pub(in crate::engine) fn couriers(
    keeper: Client,
    policy: SandboxPolicy,
    ca_file: Option<PathBuf>,
) -> Couriers {
    let hire = move || {
        let keeper = keeper.clone();
        let hired = async move {
            let (id, stream) = keeper.spawn(Role::Courier).await?;
            Ok(Hired::new(stream, move || keeper.kill(id)))
        };
        std::boxed::Box::pin(hired) as std::pin::Pin<Box<dyn Future<Output = _>>>
    };
    Couriers::new(Rc::new(hire), policy == SandboxPolicy::Required).with_ca_file(ca_file)
}
