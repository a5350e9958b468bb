use super::*;

fn words(text: &str) -> Vec<Word> {
    let script = parse(text).unwrap();
    match &script.items[0].first.commands[0].kind {
        Kind::Simple { words, .. } => words.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn quoting_is_that_of_the_shell() {
    let literal = |text: &str| {
        words(text)
            .iter()
            .map(|word| word.literal().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        literal(r#"echo 'a "b" $c' "d 'e' \" \$f \g" h\ i j"k"'l'"#),
        ["echo", "a \"b\" $c", "d 'e' \" $f \\g", "h i", "jkl"]
    );
    assert_eq!(literal("echo a#b # c"), ["echo", "a#b"]);
    assert_eq!(literal("echo a\\\n b"), ["echo", "a", "b"]);
}

#[test]
fn parameters_and_substitutions_are_pieces() {
    let found = words("echo ${a:-b} \"x$1y\" $(cat f) `cat g` $((1+2)) ${#v}");
    assert!(
        matches!(&found[1].0[0], Piece::Param { name, op: Some((op, _)), quoted: false } if name == "a" && op == ":-")
    );
    assert!(matches!(&found[2].0[1], Piece::Param { name, op: None, quoted: true } if name == "1"));
    assert!(matches!(&found[3].0[0], Piece::Command { items, .. } if items.len() == 1));
    assert!(matches!(&found[4].0[0], Piece::Command { items, .. } if items.len() == 1));
    assert!(matches!(&found[5].0[0], Piece::Arithmetic(text) if text == "1+2"));
    assert!(
        matches!(&found[6].0[0], Piece::Param { name, op: Some((op, _)), .. } if name == "v" && op == "length")
    );
}

#[test]
fn lines_and_spans_are_those_of_the_file() {
    let text = "#!/bin/sh\n# one\n\na b\nif x; then\n  y\nfi\nz &\n";
    let script = parse(text).unwrap();
    let lines: Vec<usize> = script.items.iter().map(|item| item.line).collect();
    assert_eq!(lines, [4, 5, 8]);
    assert_eq!(&text[script.items[1].span.clone()], "if x; then\n  y\nfi");
    assert_eq!(script.comments, [(2, "one".to_owned())]);
    assert!(script.items[2].background);
}

#[test]
fn an_error_in_a_here_document_is_on_its_own_line() {
    let error = parse("if cat <<A; then\none\ntwo ${x\nA\n").unwrap_err();
    assert_eq!(error.line, 3, "{error:?}");
    // One that does not end, and another behind it that is empty for that reason.
    let error = parse("if cat <<A <<B; then\none ${x\n").unwrap_err();
    assert_eq!(error.line, 2, "{error:?}");
}

#[test]
fn here_documents_follow_their_line() {
    let script = parse("cat <<A >f; echo x\none $1\nA\necho y\n").unwrap();
    let redirect = &script.items[0].first.commands[0].redirects[0];
    assert_eq!(redirect.op, "<<");
    assert!(
        matches!(redirect.target.0.as_slice(), [Piece::Text { text, .. }, Piece::Param { .. }, _] if text == "one ")
    );
    assert_eq!(
        script
            .items
            .iter()
            .map(|item| item.line)
            .collect::<Vec<_>>(),
        [1, 1, 4]
    );
    let quoted = parse("cat <<'A'\n$1\nA\n").unwrap();
    assert_eq!(
        quoted.items[0].first.commands[0].redirects[0]
            .target
            .literal()
            .unwrap(),
        "$1\n"
    );
}

#[test]
fn what_is_no_shell_is_an_error_with_its_line() {
    for (text, line) in [
        ("\nif x; then\ny\n", 4),
        ("echo 'x\n", 1),
        (")\n", 1),
        ("a &&\n", 2),
        ("${", 1),
    ] {
        assert_eq!(parse(text).unwrap_err().line, line, "{text:?}");
    }
    let deep = "( ".repeat(1000);
    assert!(parse(&deep).unwrap_err().what.contains("too deep"));
    let nested = format!("echo {}x", "$(echo ".repeat(1000));
    assert!(parse(&nested).is_err());
}

/// The lines of what cannot be read, beside what can.
fn unread(text: &str) -> (usize, Vec<usize>) {
    let script = parse(text).unwrap();
    let lines = script.items.iter().filter_map(|item| {
        let kind = &item.first.commands[0].kind;
        matches!(kind, Kind::Unread(_)).then_some(item.line)
    });
    (script.items.len(), lines.collect())
}

#[test]
fn what_is_no_shell_stays_at_its_place() {
    for (text, items, line) in [
        ("a\nif x; then\ny\n", 2, 2),
        ("a\n)\nb\n", 3, 2),
        ("a\nx=(1 2)\nb\n", 3, 2),
        ("x=(1\n  2 \")\" $(c))\nb\n", 2, 1),
        ("declare -a x=(1 2)\nb\n", 2, 1),
        ("x[1]=2\nb\n", 2, 1),
        ("a\nfor ((i=0;i<(3);i++)); do continue; done\nb\n", 3, 2),
        ("a\nb <(c)\nd\n", 3, 2),
    ] {
        assert_eq!(unread(text), (items, vec![line]), "{text:?}");
    }
    // As shells do: a here-document without an end ends with the file.
    assert_eq!(unread("cat <<E\nabc\n"), (1, vec![]));
}

mod any {
    use proptest::prelude::*;

    proptest! {
        /// Whatever the bytes: a tree or an error, never a panic.
        #[test]
        fn text_is_read_or_refused(text in "[ -~\n\t]{0,200}") {
            let _ = super::parse(&text);
        }

        #[test]
        fn scripts_that_look_like_shell_are_ported_or_refused(parts in prop::collection::vec(
            prop::sample::select(vec!["if ", "then ", "fi\n", "$1", "${x:-", "}", "\"", "'", "$(", ")", "ip addr add ", "`", "; ", "\n",
                "case ", " in ", "esac", ";;", "<<E\n", "E\n", "é", "| ", "&& ", "> /f ", "for x in ", "do ", "done ", "\\", "[[ ", " ]]"]), 0..40)) {
            let source = crate::port::Source { name: "up.sh".into(), text: parts.concat(), arguments: Vec::new() };
            let _ = crate::port::port(&source, None, &crate::port::Settings::new("x"));
        }
    }
}
