//! The example, whole: what `carpd lab` plays.

use std::time::Duration;

use carpd::lab::scenario::{self, Daemon, Options};

use crate::{Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, run| Case {
        name,
        limit: Duration::from_mins(2),
        run,
    };
    vec![
        case("scenario::ucarp_on_both_nodes", || {
            play(Daemon::Ucarp, Daemon::Ucarp)
        }),
        case("scenario::carpd_on_both_nodes", || {
            play(Daemon::Carpd, Daemon::Carpd)
        }),
        case("scenario::carpd_with_ucarp_as_its_backup", || {
            play(Daemon::Carpd, Daemon::Ucarp)
        }),
        case("scenario::ucarp_with_carpd_as_its_backup", || {
            play(Daemon::Ucarp, Daemon::Carpd)
        }),
        #[cfg(feature = "wasm")]
        case("scenario::carpd_with_a_component_for_a_hook", || {
            let hook = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/plugins/failover/failover.wasm"
            );
            let program = env!("CARGO_BIN_EXE_carpd").to_owned();
            good(&Options {
                hook: Some(hook.into()),
                program,
                ..Options::default()
            })
        }),
    ]
}

fn play(node2: Daemon, node3: Daemon) -> Outcome {
    let options = Options {
        node2,
        node3,
        program: env!("CARGO_BIN_EXE_carpd").to_owned(),
        ..Options::default()
    };
    good(&options)
}

fn good(options: &Options) -> Outcome {
    let report = scenario::run(options, &mut std::io::stdout())?;
    assert!(report.good, "{}", report.summary());
    Ok(())
}
