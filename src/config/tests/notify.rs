//! Targets of notifications.

use super::*;
use crate::notification::{Event, EventKind, Subject};
use crate::types::State;

fn with(table: &str) -> String {
    format!("{MINIMAL}\n[notify.ops]\n{table}")
}

#[test]
fn targets_are_read() {
    let config = good(&with(
        "kind = \"webhook\"\nurl = \"https://hooks.example.net/x/${secret}?e=${event}\"\n\
         headers = [\"Authorization: Bearer ${secret}\", \"X-Node: ${node}\"]\n\
         body = '{\"text\": \"${text}\"}'\nsecret-file = \"t\"\nevents = [\"transition\"]\nto = [\"master\"]\nrate = 3\n",
    ));
    let target = &config.notify["ops"];
    assert_eq!(target.way.to_string(), "webhook hooks.example.net:443");
    assert_eq!(target.rate, 3);
    assert!(
        !format!("{target:?}").contains("gw22"),
        "a secret is not shown"
    );
    let event = |kind, to| Event {
        event: kind,
        subject: Subject {
            to,
            ..Subject::default()
        },
        ..Event::sample()
    };
    assert!(target.wants(&event(EventKind::Transition, Some(State::Master))));
    assert!(!target.wants(&event(EventKind::Transition, Some(State::Backup))));
    assert!(!target.wants(&event(EventKind::Degraded, None)));
    assert!(target.wants(&event(EventKind::Test, None)));
    let config = good(&with(
        "kind = \"mail\"\nrecipients = [\"a@x\", \"b@x\"]\nsender = \"c@x\"\n",
    ));
    let Way::Mail(mail) = &config.notify["ops"].way else {
        panic!("{config:?}");
    };
    assert_eq!(
        mail.argv(),
        ["/usr/sbin/sendmail", "-i", "-f", "c@x", "a@x", "b@x"]
    );
}

#[test]
fn events_of_other_virtual_hosts_are_not_told() {
    let config = good(&with(
        "kind = \"command\"\nargv = [\"/bin/true\"]\nvhosts = [\"web\"]\n",
    ));
    let target = &config.notify["ops"];
    let of = |vhost: Option<&str>| Event {
        subject: Subject {
            vhost: vhost.map(|name| name.parse().unwrap()),
            ..Subject::default()
        },
        ..Event::sample()
    };
    assert!(target.wants(&of(Some("web"))));
    assert!(target.wants(&of(None)));
    assert!(!target.wants(&of(Some("other"))));
}

#[test]
fn what_is_wrong_with_a_target_is_told_where_it_is() {
    let lines = MINIMAL.lines().count();
    for (body, line, text) in [
        ("", 2, "`kind` is missing"),
        ("kind = \"irc\"\n", 3, "`kind` must be one of \"webhook\""),
        (
            "kind = \"webhook\"\n",
            3,
            "`kind = \"webhook\"` needs `url`",
        ),
        (
            "kind = \"mail\"\n",
            3,
            "`kind = \"mail\"` needs `recipients`",
        ),
        (
            "kind = \"command\"\n",
            3,
            "`kind = \"command\"` needs `argv`",
        ),
        (
            "kind = \"mail\"\nrecipients = [\"a@x\"]\nurl = \"http://x/\"\n",
            5,
            "`url` means nothing for `kind = \"mail\"`",
        ),
        (
            "kind = \"mail\"\nrecipients = [\"-oQ/tmp\"]\n",
            4,
            "\"-oQ/tmp\" is not a mail address",
        ),
        (
            "kind = \"mail\"\nrecipients = []\n",
            4,
            "`recipients` is empty",
        ),
        (
            "kind = \"webhook\"\nurl = \"ftp://x/\"\n",
            4,
            "must begin with http:// or https://",
        ),
        (
            "kind = \"webhook\"\nurl = \"http://${node}/\"\n",
            4,
            "`url` must begin with scheme, host and a slash",
        ),
        (
            "kind = \"webhook\"\nurl = \"${secret}\"\nsecret-file = \"t\"\n",
            4,
            "`url` must begin with scheme, host and a slash",
        ),
        (
            "kind = \"webhook\"\nurl = \"http://x/${vhst}\"\n",
            4,
            "there is no variable ${vhst}",
        ),
        (
            "kind = \"webhook\"\nurl = \"http://x/\"\nbody = \"{${text}\"\n",
            5,
            "`body` is not JSON",
        ),
        (
            "kind = \"webhook\"\nurl = \"http://x/${secret}\"\n",
            2,
            "`${secret}` needs `secret-file` or `credential`",
        ),
        (
            "kind = \"webhook\"\nurl = \"http://x/\"\nheaders = [\"Host: y\"]\n",
            2,
            "the header host is not to be set",
        ),
        (
            "kind = \"webhook\"\nurl = \"http://x/\"\nheaders = [\"X\"]\n",
            5,
            "\"X\" is not of the form \"Name: value\"",
        ),
        (
            "kind = \"command\"\nargv = [\"page\"]\n",
            4,
            "\"page\" is not the absolute path of a program",
        ),
        (
            "kind = \"command\"\nargv = [\"/bin/true\"]\nevents = []\n",
            5,
            "`events` is empty",
        ),
        (
            "kind = \"command\"\nargv = [\"/bin/true\"]\nevents = [\"degradet\"]\n",
            5,
            "`events` must be one of",
        ),
        (
            "kind = \"command\"\nargv = [\"/bin/true\"]\nevents = [\"split\"]\nto = [\"master\"]\n",
            6,
            "`to` has no effect",
        ),
        (
            "kind = \"command\"\nargv = [\"/bin/true\"]\nvhosts = [\"wep\"]\n",
            5,
            "no virtual host is called \"wep\"",
        ),
        (
            "kind = \"command\"\nargv = [\"/bin/true\"]\nrate = 0\n",
            5,
            "between 1 and 600",
        ),
    ] {
        let said = messages(&with(body));
        let wanted = format!("{}:", lines + line);
        assert!(
            said.iter()
                .any(|m| m.starts_with(&wanted) && m.contains(text)),
            "{body}: {said:?}"
        );
    }
}

#[test]
fn a_body_that_is_no_json_needs_another_type() {
    good(&with(
        "kind = \"webhook\"\nurl = \"http://x/\"\nheaders = [\"Content-Type: text/plain\"]\nbody = \"${text}\"\n",
    ));
    // As Alertmanager takes it.
    good(&with(
        "kind = \"webhook\"\nurl = \"http://am:9093/api/v2/alerts\"\n\
         body = '[{\"labels\": {\"alertname\": \"carpd ${event}\", \"vhost\": \"${vhost}\"}, \"annotations\": {\"summary\": \"${text}\"}}]'\n",
    ));
}
