//! HTTP workers are children of the keeper, like all others.

use std::path::PathBuf;
use std::rc::Rc;

use crate::hooks::process::session::SandboxPolicy;
use crate::host::children::http_worker::{HttpWorker, HttpWorkers};
use crate::keeper::{Client, Role};

/// HTTP workers that this keeper starts; they believe the certificates in `ca_file` beside those of
/// the system, unless the keeper is a daemon's: then it names the file.
pub(in crate::engine) fn http_workers(
    keeper: Client,
    policy: SandboxPolicy,
    ca_file: Option<PathBuf>,
) -> HttpWorkers {
    let spawn = move || {
        let keeper = keeper.clone();
        let worker = async move {
            let (id, stream) = keeper.spawn(Role::HttpWorker).await?;
            Ok(HttpWorker::new(stream, move || keeper.kill(id)))
        };
        std::boxed::Box::pin(worker) as std::pin::Pin<Box<dyn Future<Output = _>>>
    };
    HttpWorkers::new(Rc::new(spawn), policy == SandboxPolicy::Required).with_ca_file(ca_file)
}
