//! What the log says of hook runs: one of the right entry point for each transition.

use crate::rig::Entry;

/// Of one engine's life: its changes of state, its hook runs.
struct Life<'a> {
    /// Number and new state.
    transitions: Vec<(String, String, String)>,
    runs: Vec<&'a Entry>,
}

/// The lives of the engines that a keeper had.
fn lives(log: &[Entry]) -> Vec<Life<'_>> {
    let mut lives = vec![Life {
        transitions: Vec::new(),
        runs: Vec::new(),
    }];
    for entry in log {
        if entry.says("The engine crashed; restarting it") {
            lives.push(Life {
                transitions: Vec::new(),
                runs: Vec::new(),
            });
        }
        let Some(life) = lives.last_mut() else {
            continue;
        };
        if entry.says("Changed state") {
            life.transitions
                .push((entry.text("seq"), entry.text("from"), entry.text("to")));
        } else if entry.says("Ran a hook") {
            life.runs.push(entry);
        }
    }
    lives
}

/// The state that a run of this entry point belongs to.
fn belongs(entry: &str, to: &str) -> bool {
    match entry {
        "on_master" => to == "master",
        "on_backup" => to != "master",
        _ => true,
    }
}

/// No run without its transition, and none that ended well twice.
pub(super) fn none_too_many(log: &[Entry]) -> Result<(), String> {
    for life in lives(log) {
        for run in &life.runs {
            let (entry, seq) = (run.text("entry"), run.text("seq"));
            let transition = life.transitions.iter().find(|(number, ..)| *number == seq);
            if !transition.is_some_and(|(_, _, to)| belongs(&entry, to)) {
                return Err(format!(
                    "{entry} ran for transition {seq}, which is {transition:?}"
                ));
            }
            let same = |other: &&&Entry| {
                other.text("entry") == entry
                    && other.text("seq") == seq
                    && other.text("outcome") == "done"
            };
            let times = life.runs.iter().filter(same).count();
            if times > 1 {
                return Err(format!(
                    "{entry} ended well {times} times for transition {seq}"
                ));
            }
        }
    }
    Ok(())
}

/// The hook of the last transition has run, and well unless it `may_fail`.
pub(super) fn last_is_done(log: &[Entry], may_fail: bool) -> Result<(), String> {
    let Some(life) = lives(log).pop() else {
        return Ok(());
    };
    let Some((seq, from, to)) = life.transitions.last() else {
        return Ok(());
    };
    let wanted = match (from.as_str(), to.as_str()) {
        (_, "master") => "on_master",
        ("master", _) => "on_backup",
        _ => return Ok(()),
    };
    let fits = |run: &&&Entry| run.text("entry") == wanted && run.text("seq") == *seq;
    match life.runs.iter().rfind(fits) {
        Some(run) if run.text("outcome") == "done" || may_fail => Ok(()),
        Some(run) => Err(format!(
            "{wanted} of transition {seq} ended with {}: {}",
            run.text("outcome"),
            run.text("error")
        )),
        None => Err(format!("{wanted} of transition {seq} did not run")),
    }
}
