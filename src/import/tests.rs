//! What nobody in their right mind writes: refused or bounded, never a panic.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;

/// Files in memory.
#[derive(Default)]
struct Memory(BTreeMap<&'static str, String>);

impl Files for Memory {
    fn read(&self, path: &Path) -> Result<String, String> {
        let text = path.to_str().and_then(|path| self.0.get(path));
        text.cloned()
            .ok_or_else(|| "No such file or directory".to_owned())
    }

    fn list(&self, path: &Path) -> Result<Vec<String>, String> {
        let of = |file: &&str| {
            let rest = Path::new(file).strip_prefix(path).ok()?;
            Some(rest.iter().next()?.to_str()?.to_owned())
        };
        Ok(self.0.keys().filter_map(of).collect())
    }
}

fn import_as(format: Format, text: &str, files: &Memory) -> Result<Imported, ImportError> {
    let source = Source {
        name: "/etc/k/main.conf".to_owned(),
        text: text.to_owned(),
    };
    let node = Node {
        root: Path::new("/"),
        config_id: "node1",
    };
    import(format, &[source], node, files)
}

fn keepalived(text: &str) -> Result<Imported, ImportError> {
    import_as(Format::Keepalived, text, &Memory::default())
}

const INSTANCE: &str = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n";

/// The words and the place of the refusal.
#[track_caller]
fn refused(result: Result<Imported, ImportError>, words: &str) -> Option<usize> {
    let error = result.expect_err("it is imported");
    assert!(error.message.contains(words), "{error:?}");
    error.place.map(|place| place.line)
}

#[test]
fn a_file_that_includes_itself_is_refused() {
    let files = Memory(BTreeMap::from([
        ("/etc/k/main.conf", "include b.conf\n".to_owned()),
        ("/etc/k/b.conf", "\ninclude *.conf\n".to_owned()),
    ]));
    let text = format!("{INSTANCE}include b.conf\n");
    let line = refused(
        import_as(Format::Keepalived, &text, &files),
        "/etc/k/b.conf includes itself",
    );
    assert_eq!(line, Some(2));
}

#[test]
fn files_that_include_many_are_refused() {
    let all = (0..2000_u32).map(|n| format!("include /etc/k/one.inc # {n}\n"));
    let files = Memory(BTreeMap::from([(
        "/etc/k/one.inc",
        "# nothing\n".to_owned(),
    )]));
    let result = import_as(Format::Keepalived, &all.collect::<String>(), &files);
    assert_eq!(refused(result, "more than 1000 files"), Some(1001));
}

#[test]
fn parameters_and_sequences_are_bounded() {
    for (text, words) in [
        ("$A=$A\n$A\n".to_owned(), "more than 32 deep"),
        (
            "~SEQ(A, 1, 1000000000) interface eth0\n".to_owned(),
            "more than 100000 lines",
        ),
        (
            "~SEQ(A, 1, 999) ~SEQ(B, 1, 999) ~SEQ(C, 1, 999) x\n".to_owned(),
            "more than 100000 lines",
        ),
        ("~SEQ(A, 1, 2) ".repeat(40) + "x", "more than 32 deep"),
        // Each is ten of the one before it.
        (
            "$A0=aaaaaaaaaa\n".to_owned()
                + &(1..10)
                    .map(|n| format!("$A{n}={}\n", format!("${{A{}}}", n - 1).repeat(10)))
                    .collect::<String>()
                + "x ${A9}\n",
            "bytes",
        ),
    ] {
        refused(keepalived(&format!("{INSTANCE}{text}")), words);
    }
    let odd = "~SEQ\n~SEQ(\n~SEQ()\n~SEQ(A)\n~SEQ(A,1,0,2) x\n~LST(A)\n~SEQ(A,9223372036854775806,9223372036854775807) x ${A}\n@\n@^\n$=1\n$\n${\n$1=2\n";
    assert!(keepalived(&format!("{INSTANCE}{odd}")).is_ok());
}

#[test]
fn deep_and_large_files_are_refused() {
    let deep = "a {\n".repeat(50_000);
    assert_eq!(refused(keepalived(&deep), "more than 16 deep"), Some(17));
    refused(keepalived(&"x\n".repeat(100_001)), "more than 100000 lines");
    let many: String = (0..5000)
        .map(|n| format!("vrrp_instance I{n} {{\n}}\n"))
        .collect();
    refused(keepalived(&many), "more than 4096 instances");
    let ucarp: String = (0..5000)
        .map(|_| "ucarp -i eth0 -v 1 -p x -a 192.0.2.1 -s 192.0.2.2\n")
        .collect();
    let result = import_as(Format::Ucarp, &ucarp, &Memory::default());
    refused(result, "more than 4096 virtual hosts");
}

#[test]
fn thousands_of_instances_take_no_time_of_a_higher_order() {
    let many: String = (0..4000)
        .map(|n| {
            format!("vrrp_instance SAME {{ interface eth{}\nvirtual_router_id {}\nauthentication {{ auth_pass x\n}}\ntrack_interface {{ t{n}\n}}\nvirtual_ipaddress {{ 10.0.{}.{}\n}}\n}}\n", n / 255, n % 255 + 1, n / 250, n % 250 + 1)
        })
        .collect();
    let imported = keepalived(&many).unwrap();
    assert!(imported.config.contains("name = \"SAME-4000\""));
    assert!(imported.is_complete());
}

/// One entity is ten of the next, ten deep.
#[test]
fn xml_bombs_are_refused() {
    let entities: String = (1..10)
        .map(|n| format!("<!ENTITY a{n} \"{}\">", format!("&a{};", n - 1).repeat(10)))
        .collect();
    let bomb = format!(
        "<!DOCTYPE x [<!ENTITY a0 \"ha\">{entities}]><opnsense><virtualip><vip><descr>&a9;</descr></vip></virtualip></opnsense>"
    );
    let result = import_as(Format::Opnsense, &bomb, &Memory::default());
    refused(result, "no XML that carpd reads");
    let outside = "<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><opnsense/>";
    let result = import_as(Format::Opnsense, outside, &Memory::default());
    refused(result, "no XML that carpd reads");
    let deep = "<a>".repeat(1_000_000);
    let result = import_as(Format::Opnsense, &deep, &Memory::default());
    assert!(result.is_err());
    let closed = format!("<a>{}{}</a>", "<a>".repeat(100_000), "</a>".repeat(100_000));
    let result = import_as(Format::Opnsense, &closed, &Memory::default());
    refused(result, "no virtual host of opnsense");
}

/// What is printed of a file and written to a comment has no control characters.
#[test]
fn control_characters_are_shown() {
    let text = format!(
        "{INSTANCE}static_routes\u{1b}[2J {{\n\0\n}}\nvrrp_instance \u{1b}]0;x\u{7} {{\ninterface eth0\u{202e}\n}}\n"
    );
    let imported = keepalived(&text).unwrap();
    for said in &imported.statements {
        let text = format!("{} {}", said.text, said.outcome.text());
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    let odd = |c: char| c.is_control() && c != '\n';
    assert!(!imported.config.chars().any(odd), "{:?}", imported.config);
}

/// Why there is no virtual host is said, at its place.
#[test]
fn what_yields_nothing_says_why() {
    let text = "# fw\nifconfig_em0_alias0=\"inet vhid 1 pass x alias 192.0.2.300/32\"\n";
    let result = import_as(Format::RcConf, text, &Memory::default());
    assert_eq!(refused(result, "192.0.2.300/32 is no address"), Some(2));
}
