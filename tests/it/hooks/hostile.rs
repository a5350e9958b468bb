//! A runner that was taken over by its hook: whatever it says, the engine's end gets an error in
//! bounded time and space.

use std::os::unix::net::UnixStream;

use carpd::effect::ServiceVerb;
use carpd::frame::{self, Inbox};
use carpd::hooks::contract::message::{
    Confinement, FromRunner, Loaded, MAX_FROM_RUNNER, MAX_TO_RUNNER, ToRunner,
};
use carpd::hooks::process::session::OVERRUN;

use super::*;

const SHORT: Budget = Budget {
    wall: Duration::from_millis(300),
    cpu: Duration::from_millis(300),
    memory_bytes: 1 << 20,
    requests: 10,
    log_bytes: 1 << 10,
    state_bytes: 0,
};
/// For what is no question of time.
const LONG: Budget = Budget {
    wall: Duration::from_secs(20),
    cpu: Duration::from_millis(300),
    memory_bytes: 1 << 20,
    requests: 10,
    log_bytes: 1 << 10,
    state_bytes: 0,
};

/// The runner's end, in a thread of its own: it behaves until it is called.
struct Runner {
    stream: UnixStream,
    inbox: Inbox,
}

impl Runner {
    fn say(&mut self, message: &FromRunner) {
        // The engine may have hung up, with reason.
        let _ = frame::send(&self.stream, message, 1 << 30);
    }

    fn write(&mut self, bytes: &[u8]) {
        let _ = std::io::Write::write_all(&mut self.stream, bytes);
    }

    fn hear(&mut self) -> Option<ToRunner> {
        frame::receive(&self.stream, &mut self.inbox, MAX_TO_RUNNER).ok()
    }

    fn behave(&mut self) {
        let measures = [
            "seccomp",
            "no-new-privileges",
            "no-capabilities",
            "cpu-limit",
        ]
        .map(str::to_owned)
        .to_vec();
        self.behave_in(Confinement {
            in_force: measures,
            missing: Vec::new(),
        });
    }

    fn behave_in(&mut self, confinement: Confinement) {
        self.say(&FromRunner::Ready { confinement });
        self.hear();
        self.say(&FromRunner::Loaded(Ok(Loaded {
            entry_points: vec![EntryPoint::OnMaster],
            modules: Vec::new(),
            imports: Vec::new(),
        })));
        self.hear();
    }
}

/// Calls a runner that does this once it is called. What comes of it, and what it asked.
fn called(
    act: impl FnOnce(&mut Runner) + Send + 'static,
) -> (Result<Returned, HookError>, Vec<Ask>, bool) {
    called_within(SHORT, act)
}

/// As [`called`], for what is to come to its end however busy the machine is.
fn called_within(
    budget: Budget,
    act: impl FnOnce(&mut Runner) + Send + 'static,
) -> (Result<Returned, HookError>, Vec<Ask>, bool) {
    block_on(async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let runner = std::thread::spawn(move || {
            let mut runner = Runner {
                stream: theirs,
                inbox: Inbox::default(),
            };
            runner.behave();
            act(&mut runner);
        });
        let mut session = Session::load(ours, source(""), budget, SandboxPolicy::BestEffort)
            .await
            .unwrap();
        let mut desk = Script::new(yes);
        let began = tokio::time::Instant::now();
        let result = session
            .call(event(EntryPoint::OnMaster), budget, &mut desk, pending())
            .await;
        assert!(
            began.elapsed() < budget.wall + OVERRUN + Duration::from_secs(1),
            "{result:?} after {:?}",
            began.elapsed()
        );
        let alive = session.is_alive();
        drop(session);
        runner.join().unwrap();
        (result, desk.asked, alive)
    })
}

/// A good runner on a machine whose kernel filters no system calls.
#[test]
fn without_a_mandatory_measure_only_best_effort_runs_a_hook() {
    let load = |policy| {
        block_on(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let runner = std::thread::spawn(move || {
                let in_force = ["no-new-privs", "no-capabilities", "cpu-limit"]
                    .map(str::to_owned)
                    .to_vec();
                let missing = vec!["seccomp: Invalid argument".to_owned()];
                let mut runner = Runner {
                    stream: theirs,
                    inbox: Inbox::default(),
                };
                runner.behave_in(Confinement { in_force, missing });
                runner.say(&FromRunner::Finished(Ok(Returned::Done)));
            });
            let loaded = Session::load(ours, source(""), LONG, policy).await;
            let ran = match loaded {
                Ok(mut session) => {
                    let missing = session.confinement().missing.clone();
                    let result = session
                        .call(
                            event(EntryPoint::OnMaster),
                            LONG,
                            &mut Script::new(yes),
                            pending(),
                        )
                        .await;
                    assert_eq!(result, Ok(Returned::Done));
                    Ok(missing)
                }
                Err(error) => Err(error.to_string()),
            };
            runner.join().unwrap();
            ran
        })
    };
    let refusal = load(SandboxPolicy::Required).unwrap_err();
    assert!(
        refusal.contains("seccomp: Invalid argument")
            && refusal.contains("sandbox = \"best-effort\""),
        "{refusal}"
    );
    assert_eq!(
        load(SandboxPolicy::BestEffort),
        Ok(vec!["seccomp: Invalid argument".to_owned()]),
        "and it says what is missing"
    );
}

fn died(act: impl FnOnce(&mut Runner) + Send + 'static) -> String {
    match called_within(LONG, act) {
        (Err(HookError::RunnerDied(why)), _, false) => why,
        other => panic!("{other:?}"),
    }
}

fn hostname_get() -> FromRunner {
    FromRunner::Ask(Ask::Query(Query::Hostname))
}

#[test]
fn nonsense_ends_the_session() {
    assert!(died(|runner| runner.write(&[0xff; 64])).contains("larger than the limit"));
    assert!(died(|runner| runner.write(&[3, 0, 0, 0, 99, 99, 99])).contains("is invalid"));
    assert!(
        died(|runner| runner.write(&[0, 0, 0, 0])).contains("is invalid"),
        "an empty message"
    );
    assert!(
        died(|runner| runner.write(&[8, 0, 0, 0, 1])).contains("within a message"),
        "half a message"
    );
    assert!(
        died(|runner| runner.say(&FromRunner::Loaded(Err(LoadError::Code("x".into())))))
            .contains("something unexpected")
    );
    assert!(died(|_| ()).contains("closed the socket"));
    // A frame's length counts, not what a message claims of its parts: a text of 4 GiB in 8 bytes.
    assert!(
        died(|runner| runner.write(&[8, 0, 0, 0, 2, 2, 1, 0xff, 0xff, 0xff, 0xff, 0x0f]))
            .contains("is invalid")
    );
}

#[test]
fn who_asks_again_before_the_answer_is_cut_off() {
    let (result, asked, _) = called(|runner| {
        runner.say(&FromRunner::Ask(Ask::Sleep { ms: 0 }));
        runner.say(&hostname_get());
        runner.say(&hostname_get());
        while runner.hear().is_some() {}
    });
    // Asked in one breath they are answered in order, or the second is out of turn: never more than
    // was asked.
    assert!(asked.len() <= 3, "{asked:?}");
    assert!(
        matches!(
            result,
            Err(HookError::RunnerDied(_) | HookError::TimedOut(_))
        ),
        "{result:?}"
    );
}

#[test]
fn who_never_reads_or_never_ends_is_given_up() {
    let (result, _, alive) = called(|runner| while runner.hear().is_some() {});
    assert_eq!(
        (result, alive),
        (Err(HookError::TimedOut(SHORT.wall)), false)
    );
    // Asks and asks, and reads no answer: the engine's end must not wait for room in the socket for
    // ever.
    let (result, asked, alive) = called(|runner| {
        let bytes = frame::encode(&hostname_get(), MAX_FROM_RUNNER).unwrap();
        while std::io::Write::write_all(&mut runner.stream, &bytes).is_ok() {}
    });
    assert!(
        matches!(
            result,
            Err(HookError::RunnerDied(_) | HookError::TimedOut(_))
        ) && !alive,
        "{result:?}"
    );
    assert!(
        asked.len() <= 10,
        "the budget of requests holds: {}",
        asked.len()
    );
}

#[test]
fn what_is_too_long_for_a_log_is_not_even_asked() {
    let long = "x".repeat(3 << 20);
    let asks = [
        Ask::Effect {
            effect: Effect::HostnameSet { name: long.clone() },
            keep: false,
            wait_ms: None,
        },
        Ask::Effect {
            effect: Effect::Service {
                unit: long.clone(),
                verb: ServiceVerb::Start,
            },
            keep: true,
            wait_ms: Some(u64::MAX),
        },
        Ask::Effect {
            effect: Effect::Resign {
                reason: long.clone(),
            },
            keep: false,
            wait_ms: None,
        },
        Ask::Query(Query::FileRead { path: long.clone() }),
        Ask::StateGet { key: long.clone() },
    ];
    let (result, asked, alive) = called_within(LONG, move |runner| {
        for ask in asks {
            runner.say(&FromRunner::Ask(ask));
            assert!(matches!(
                runner.hear(),
                Some(ToRunner::Answer(Answer::Error(AskError::Invalid(_))))
            ));
        }
        runner.say(&FromRunner::Finished(Err(HookError::Raised {
            message: long[..1 << 20].into(),
            backtrace: long[..1 << 20].into(),
        })));
        runner.hear();
    });
    assert_eq!(asked, []);
    let Err(HookError::Raised { message, backtrace }) = result else {
        panic!("{result:?}")
    };
    assert!(message.len() < 20_000 && backtrace.len() < 20_000 && alive);
}

#[test]
fn it_cannot_claim_what_only_the_engine_decides() {
    for (claim, expected) in [
        (HookError::Superseded, "superseded"),
        (
            HookError::RunnerDied("I never lived".into()),
            "I never lived",
        ),
    ] {
        let (result, ..) = called_within(LONG, move |runner| {
            runner.say(&FromRunner::Finished(Err(claim)));
            runner.hear();
        });
        assert!(
            matches!(&result, Err(HookError::RunnerDied(why)) if why.contains(expected)),
            "{result:?}"
        );
    }
    let (result, ..) = called_within(LONG, |runner| {
        runner.say(&FromRunner::Finished(Ok(Returned::Health {
            demotion: 255,
            reason: "é".repeat(1 << 20),
        })));
        runner.hear();
    });
    let Ok(Returned::Health { demotion, reason }) = result else {
        panic!("{result:?}")
    };
    assert!(demotion <= 240 && reason.len() < 20_000);
}
