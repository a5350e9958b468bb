//! What is on the screen, cell by cell.

use std::fmt::Write as _;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};
use serde_json::{Value, json};

use super::super::answers::Answer;
use super::draw::draw;
use super::ink::Ink;
use super::view::{Row, Then, View};
use crate::cli::{Exit, Failure};
use crate::types::is_treacherous;

/// Now, in milliseconds since 1970.
const NOW_MS: u64 = 1_800_000_000_000;

fn vhost(name: &str, state: &str, strip: &str) -> Value {
    json!({
        "name": name, "interface": "eth0", "vhid": 7, "addresses": ["192.0.2.7/24"], "state": state,
        "since_ms": NOW_MS - 192_000, "condition": "as it should be", "cause": "x", "why": "no advertisement for 3.0 s",
        "peer": null, "seq": 1, "holding": state == "master", "demotion": 0, "degraded": null,
        "heard": { "from": "192.0.2.1", "ago_ms": 5, "advbase": 1, "advskew": 0 },
        "strip": strip, "lease": "", "hooks": ["h"], "counters": {},
    })
}

fn status(vhosts: &[Value]) -> Value {
    let transition = json!({
        "at_ms": NOW_MS - 192_000, "vhost": "web", "what": "transition", "from": "backup", "to": "master",
        "seq": 4, "why": "no advertisement for 3.0 s", "peer": null,
    });
    let run = |outcome: &str, error: &str| {
        json!({
            "at_ms": NOW_MS - 61_000, "vhost": "web", "what": "hook-run", "hook": "h", "entry": "on_master",
            "took_ms": 12, "outcome": outcome, "error": error,
        })
    };
    json!({
        "version": "0.1.0", "started_ms": NOW_MS - 7_300_000, "vhosts": vhosts, "hooks": [], "held": [],
        "unmatched_packets": {}, "reload_problems": [],
        "recent": [transition, run("failed", "h.lua:3: no such service"), run("done", "")],
    })
}

/// Three, one of which has a problem.
fn usual() -> Value {
    let mut db = vhost("db", "backup", "hhhhhhhhhlhhhhhhmmhhhhhhhh");
    db["demotion"] = json!(20);
    db["link_penalty"] = json!(1500);
    let web = vhost("web", "master", "hhhhhhmmmssssssssssssstsssn");
    status(&[web, db, vhost("mail", "backup", &"h".repeat(60))])
}

fn answer(status: Value) -> Vec<Answer> {
    vec![Answer {
        heading: None,
        status: Ok(serde_json::from_value(status).unwrap()),
    }]
}

fn gone() -> Vec<Answer> {
    vec![Answer {
        heading: None,
        status: Err(Failure::new(Exit::Cannot, "no carpd answers at /run/x")),
    }]
}

fn view(status: Value) -> View {
    let mut view = View::new(Vec::new());
    view.take(answer(status), NOW_MS);
    view
}

fn press(view: &mut View, code: KeyCode) -> Then {
    view.press(KeyEvent::new(code, KeyModifiers::NONE))
}

fn type_words(view: &mut View, words: &str) {
    for c in words.chars() {
        press(view, KeyCode::Char(c));
    }
}

fn screen(view: &mut View, ink: Ink, (width, height): (u16, u16)) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| draw(view, ink, NOW_MS, frame))
        .unwrap();
    terminal
}

/// The words on the screen. `>` marks the selected line.
fn seen(view: &mut View, size: (u16, u16)) -> String {
    let terminal = screen(view, Ink::new(false), size);
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for y in 0..size.1 {
        let cells = (0..size.0).map(|x| &buffer[(x, y)]);
        let line: String = cells.map(ratatui::buffer::Cell::symbol).collect();
        let is_selected = buffer[(0, y)].modifier.contains(Modifier::REVERSED);
        let mark = if is_selected { '>' } else { '|' };
        _ = writeln!(text, "{mark}{}", line.trim_end());
    }
    text
}

#[test]
fn a_usual_terminal() {
    insta::assert_snapshot!(seen(&mut view(usual()), (80, 24)), @"
    |carpd top  3 virtual hosts: 1 master, 2 backup; 1 with a problem
    |NAME  STATE   CHANGED    DEMOTION  PENALTY  HOOKS  ADVERTISEMENTS        PROBLEM
    >db    backup  3 min ago  20        1500     ok     ■■■~■■■■■■xx■■■■■■■■  demoted
    |web   master  3 min ago  -         -        ok     xx▲▲▲▲▲▲▲▲▲▲▲▲▲~▲▲▲x  -
    |mail  backup  3 min ago  -         -        ok     ■■■■■■■■■■■■■■■■■■■■  -
    |
    |
    |
    |
    |
    |
    |
    |
    |
    |
    |
    |
    |
    |
    |LAST TRANSITIONS AND HOOK RUNS
    |  1 min ago  web  hook h: on_master done in 12 ms
    |  1 min ago  web  hook h: on_master failed after 12 ms: h.lua:3: no such service
    |  3 min ago  web  backup -> master: no advertisement for 3.0 s
    |q quit  ? help  Enter detail  / filter
    ");
}

#[test]
fn a_large_one() {
    insta::assert_snapshot!(seen(&mut view(usual()), (120, 20)), @"
    |carpd top  3 virtual hosts: 1 master, 2 backup; 1 with a problem                            carpd 0.1.0, started 2 h ago
    |NAME  STATE   CHANGED    DEMOTION  PENALTY  HOOKS  ADVERTISEMENTS                                                PROBLEM
    >db    backup  3 min ago  20        1500     ok                                       ■■■■■■■■■~■■■■■■xx■■■■■■■■  demoted
    |web   master  3 min ago  -         -        ok                                      ■■■■■■xxx▲▲▲▲▲▲▲▲▲▲▲▲▲~▲▲▲x  -
    |mail  backup  3 min ago  -         -        ok     ■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■■  -
    |
    |
    |
    |
    |
    |
    |
    |
    |
    |
    |LAST TRANSITIONS AND HOOK RUNS
    |  1 min ago  web  hook h: on_master done in 12 ms
    |  1 min ago  web  hook h: on_master failed after 12 ms: h.lua:3: no such service
    |  3 min ago  web  backup -> master: no advertisement for 3.0 s
    |q quit  ? help  Enter detail  / filter
    ");
}

#[test]
fn a_small_one() {
    insta::assert_snapshot!(seen(&mut view(usual()), (40, 10)), @"
    |3 virtual hosts; 1 with a problem
    |NAME  STATE   ADVERTISEMENTS     PROBLEM
    >db    backup  ~■■■■■■xx■■■■■■■■  demoted
    |web   master  ▲▲▲▲▲▲▲▲▲▲▲▲~▲▲▲x  -
    |mail  backup  ■■■■■■■■■■■■■■■■■  -
    |LAST TRANSITIONS AND HOOK RUNS
    |  1 min ago  web  hook h: on_master done
    |  1 min ago  web  hook h: on_master fail
    |  3 min ago  web  backup -> master: no a
    |q quit  ? help  Enter detail  / filter
    ");
}

#[test]
fn everything_about_one() {
    let mut view = view(usual());
    press(&mut view, KeyCode::Down);
    press(&mut view, KeyCode::Enter);
    let text = seen(&mut view, (80, 24));
    // Local time.
    let text = text
        .lines()
        .map(|line| match line.split_once(" since ") {
            Some((before, after)) => format!("{before} since {}", after.get(..4).unwrap_or(after)),
            None => line.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("\n");
    insta::assert_snapshot!(text, @"
    |carpd top  3 virtual hosts: 1 master, 2 backup; 1 with a problem
    |web: master since 2027
    |  because: no advertisement for 3.0 s
    |  vhid 7 on eth0, 192.0.2.7/24, up here
    |  heard 192.0.2.1 5 ms ago (advbase 1, advskew 0)
    |
    |ADVERTISEMENTS, one mark for each interval, the last at the right
    |                                   ■■■■■■xxx▲▲▲▲▲▲▲▲▲▲▲▲▲~▲▲▲x
    |  ■ heard  ▲ sent by this node  ~ late  x missing
    |
    |LAST TRANSITIONS AND HOOK RUNS
    |  1 min ago  hook h: on_master done in 12 ms
    |  1 min ago  hook h: on_master failed after 12 ms: h.lua:3: no such service
    |  3 min ago  backup -> master: no advertisement for 3.0 s
    |
    |
    |
    |
    |
    |
    |
    |
    |
    |q quit  ? help  Esc back  Up, Down scroll
    ");
}

#[test]
fn the_keys() {
    let mut view = view(usual());
    press(&mut view, KeyCode::Char('?'));
    insta::assert_snapshot!(seen(&mut view, (80, 24)), @"
    |carpd top  3 virtual hosts: 1 master, 2 backup; 1 with a problem
    |KEYS
    |  Up, Down, k, j         select a virtual host, or scroll
    |  PgUp, PgDn, Home, End  the same, further
    |  Enter                  everything about the selected virtual host
    |  Esc                    back; in the list: show all again
    |  /                      show only what contains these words: names, states,
    |                         interfaces, addresses, problems
    |  ?                      this page
    |  Ctrl-Z                 stop; `fg` continues
    |  q, Ctrl-C              quit
    |
    |ADVERTISEMENTS, one mark for each interval, the last at the right
    |  ■ heard  ▲ sent by this node  ~ late  x missing
    |
    |OTHER COLUMNS
    |  DEMOTION               added to the advskew, 0 to 240
    |  PENALTY                for a link that flaps
    |  HOOKS                  running, ok, unhealthy or failed
    |
    |
    |
    |
    |q quit  Esc back
    ");
}

#[test]
fn no_size_is_too_much_for_it() {
    let mut view = view(usual());
    for code in [KeyCode::Esc, KeyCode::Enter, KeyCode::Char('?')] {
        press(&mut view, code);
        for width in [1, 2, 19, 20, 21, 39, 40, 79, 200, 400] {
            for height in [1, 2, 3, 4, 5, 6, 7, 8, 9, 23, 100] {
                screen(&mut view, Ink::new(true), (width, height));
            }
        }
    }
    assert_eq!(seen(&mut view, (19, 3)), "|too small: carpd to\n|\n|\n");
}

#[test]
fn the_list_follows_the_selection_and_the_selection_the_virtual_host() {
    let hosts = |state_of_last: &str| {
        let hosts = (0..100).map(|n| {
            let state = if n == 99 { state_of_last } else { "backup" };
            vhost(&format!("host{n:02}"), state, "hhh")
        });
        status(&hosts.collect::<Vec<_>>())
    };
    let mut view = view(hosts("backup"));
    let selected = |view: &mut View| {
        let text = seen(view, (80, 24));
        let line = text.lines().find_map(|line| line.strip_prefix('>'));
        line.and_then(|line| line.split_whitespace().next())
            .map(str::to_owned)
    };
    assert_eq!(selected(&mut view).as_deref(), Some("host00"));
    for (code, expected) in [
        (KeyCode::Up, "host00"),
        (KeyCode::Down, "host01"),
        (KeyCode::PageDown, "host11"),
        (KeyCode::End, "host99"),
        (KeyCode::Char('k'), "host98"),
        (KeyCode::Char('G'), "host99"),
    ] {
        press(&mut view, code);
        assert_eq!(selected(&mut view).as_deref(), Some(expected));
    }
    // It has a problem now, and so another place.
    view.take(answer(hosts("init")), NOW_MS);
    assert_eq!(selected(&mut view).as_deref(), Some("host99"));
    press(&mut view, KeyCode::Down);
    assert_eq!(selected(&mut view).as_deref(), Some("host00"));
    view.take(answer(status(&[])), NOW_MS);
    assert_eq!(selected(&mut view), None);
    press(&mut view, KeyCode::Enter);
    assert!(seen(&mut view, (80, 24)).contains("no virtual host fits"));
}

#[test]
fn a_filter_looks_at_names_states_addresses_and_problems() {
    let mut view = view(usual());
    let mut names = |words: &str| {
        press(&mut view, KeyCode::Esc);
        press(&mut view, KeyCode::Char('/'));
        type_words(&mut view, words);
        assert!(seen(&mut view, (80, 24)).contains(&format!("\n|/{words}")));
        press(&mut view, KeyCode::Enter);
        let text = seen(&mut view, (80, 24));
        assert!(words.is_empty() || text.contains(&format!("filter: {words}")));
        view.rows()
            .iter()
            .map(Row::name)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names("MAST"), "web");
    assert_eq!(names("demot"), "db");
    assert_eq!(names("192.0.2.7"), "db web mail");
    // These are no keys.
    assert_eq!(names("q?/"), "");
    assert_eq!(names(""), "db web mail");
}

#[test]
fn a_daemon_that_is_gone_is_said_to_be_and_seen_again() {
    let mut view = view(usual());
    view.take(gone(), NOW_MS - 5_000);
    view.seen[0].at_ms = NOW_MS - 65_000;
    let text = seen(&mut view, (120, 24));
    assert!(
        text.contains("trying again, shown as it was 1 min ago: no carpd answers at /run/x"),
        "{text}"
    );
    assert!(text.contains("web"), "{text}");
    view.take(answer(usual()), NOW_MS);
    assert!(!seen(&mut view, (120, 24)).contains("no carpd answers"));
    view.wait_longer();
    let text = seen(&mut view, (120, 24));
    assert!(
        text.contains("waiting for an answer, shown as it was 0 s ago"),
        "{text}"
    );
}

#[test]
fn several_daemons_are_one_list() {
    let answers = ["instance a", "instance b"].map(|heading| Answer {
        heading: Some(heading.to_owned()),
        status: Ok(serde_json::from_value(usual()).unwrap()),
    });
    let mut view = View::new(vec!["web".to_owned()]);
    view.take(answers.into(), NOW_MS);
    assert_eq!(view.rows().len(), 2);
    press(&mut view, KeyCode::Down);
    press(&mut view, KeyCode::Enter);
    assert_eq!(view.selection().unwrap().heading, Some("instance b"));
}

/// Nothing that others say is obeyed by the terminal.
#[test]
fn words_of_others_are_escaped() {
    const EVIL: &str = "\u{1b}[2J\u{9b}31m\r\n\u{202e}\u{200b}\u{7}end";
    let mut host = vhost("web", "init", "hhh");
    for key in ["condition", "why", "peer", "degraded", "lease", "netns"] {
        host[key] = json!(EVIL);
    }
    host["heard"]["from"] = json!(EVIL);
    let mut status = status(&[host]);
    status["version"] = json!(EVIL);
    status["reload_problems"] = json!([EVIL, EVIL]);
    status["recent"][0]["why"] = json!(EVIL);
    status["recent"][1]["error"] = json!(EVIL);
    let mut view = view(status);
    view.seen[0].problem = Some(EVIL.to_owned());
    for code in [KeyCode::Esc, KeyCode::Enter] {
        press(&mut view, code);
        let terminal = screen(&mut view, Ink::new(true), (200, 50));
        for cell in terminal.backend().buffer().content() {
            assert!(!cell.symbol().contains(is_treacherous), "{cell:?}");
        }
        assert!(seen(&mut view, (200, 50)).contains("\\u{1b}[2J\\u{9b}31m\\r\\n\\u{202e}"));
    }
    // What is typed may be pasted.
    press(&mut view, KeyCode::Esc);
    press(&mut view, KeyCode::Char('/'));
    type_words(&mut view, &EVIL.repeat(100));
    let text = seen(&mut view, (200, 50));
    assert!(!text.replace('\n', "").contains(is_treacherous));
}

#[test]
fn colours_only_if_wanted_and_never_alone() {
    let colours = |colour: bool| {
        let terminal = screen(&mut view(usual()), Ink::new(colour), (120, 40));
        let cells = terminal.backend().buffer().content().iter();
        cells.filter(|cell| cell.fg != Color::Reset).count()
    };
    assert_eq!(colours(false), 0);
    assert!(colours(true) > 20);
}

#[test]
fn keys_that_end_it() {
    let mut view = view(usual());
    let control =
        |view: &mut View, c| view.press(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL));
    for page in [KeyCode::Esc, KeyCode::Enter, KeyCode::Char('?')] {
        press(&mut view, page);
        assert_eq!(press(&mut view, KeyCode::Char('q')), Then::Quit);
    }
    press(&mut view, KeyCode::Esc);
    press(&mut view, KeyCode::Char('/'));
    assert_eq!(press(&mut view, KeyCode::Char('q')), Then::Stay);
    assert_eq!(control(&mut view, 'z'), Then::Suspend);
    assert_eq!(control(&mut view, 'c'), Then::Quit);
}
