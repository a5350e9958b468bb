//! `curl` and `wget`: requests of the hook's own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Arg, Done, Untranslated};
use crate::port::ir::{Action, Answer, Expr};
use crate::port::lower::Lower;

/// What a command line asks for.
#[derive(Default)]
struct Asked {
    method: Option<String>,
    url: Option<Expr>,
    body: Option<Expr>,
    headers: Vec<(String, Expr)>,
    timeout: Option<u64>,
    /// A status of 400 and above is a failure.
    strict: bool,
    /// What is answered is thrown away.
    quiet: bool,
    /// The status is written.
    status: bool,
    /// It goes where the answer says.
    elsewhere: bool,
}

/// As a command whose output nobody reads.
pub(super) fn translate(
    lower: &mut Lower<'_>,
    name: &str,
    args: &[Arg],
) -> Result<Done, Untranslated> {
    let (action, _) = request(lower, name, args)?;
    Ok(Done::Actions(vec![action]))
}

/// What it writes.
///
/// # Errors
/// Why it cannot be translated.
pub(crate) fn answer(
    lower: &mut Lower<'_>,
    name: &str,
    args: &[Arg],
) -> Result<Expr, Untranslated> {
    let (action, asked) = request(lower, name, args)?;
    match (asked.quiet, asked.status) {
        (true, true) => Ok(Expr::Answer(Box::new(action), Answer::Status)),
        (false, false) => Ok(Expr::Answer(Box::new(action), Answer::Body)),
        (false, true) => Err("the answer and its status in one text".into()),
        (true, false) => Err("the output of a request that writes none".into()),
    }
}

/// The request, and what of the answer is written.
fn request(
    lower: &mut Lower<'_>,
    name: &str,
    args: &[Arg],
) -> Result<(Action, Asked), Untranslated> {
    let curl = name.rsplit('/').next() == Some("curl");
    let mut asked = Asked {
        strict: !curl,
        quiet: !curl,
        ..Asked::default()
    };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let word = beginning(arg);
        if !word.starts_with('-') || word == "-" {
            if asked.url.replace(arg.value.clone()).is_some() {
                return Err(format!("{name} of several URLs"));
            }
            continue;
        }
        let (option, attached) = split(arg);
        let option = option.as_str();
        let mut value = || {
            attached
                .clone()
                .or_else(|| rest.next().cloned())
                .ok_or(format!("{option} needs a value"))
        };
        if curl {
            of_curl(&mut asked, option, &mut value)?;
        } else {
            of_wget(&mut asked, option, &mut value)?;
        }
    }
    let url = asked.url.take().ok_or("no URL")?;
    if asked.elsewhere {
        lower.guess(
            "curl -L: the URL is taken to lead nowhere else, since a hook follows no redirect",
        );
    } else if !curl {
        lower.differs("where the URL leads elsewhere the hook does not follow, as wget did");
    }
    let known = match &url {
        Expr::Join(parts) => parts.first().cloned(),
        url => Some(url.clone()),
    };
    let begins = |text: &String| text.starts_with("http://") || text.starts_with("https://");
    let http = known
        .and_then(|first| lower.values(&first))
        .is_some_and(|all| all.iter().all(begins));
    if !http {
        return Err("a URL that is not of http, or known only when it runs".into());
    }
    let post = asked.body.is_some();
    let method = asked
        .method
        .take()
        .unwrap_or_else(|| if post { "POST" } else { "GET" }.to_owned());
    let verb = match method.as_str() {
        "GET" if !post => "get",
        "POST" => "post",
        "PUT" => "put",
        "PATCH" => "patch",
        "DELETE" if !post => "delete",
        _ => return Err(format!("the method {method}")),
    };
    let given = |(key, _): &(String, Expr)| key.eq_ignore_ascii_case("content-type");
    if post && !asked.headers.iter().any(given) {
        asked.headers.push((
            "content-type".into(),
            Expr::Text("application/x-www-form-urlencoded".into()),
        ));
    }
    let body = matches!(verb, "post" | "put" | "patch")
        .then(|| asked.body.take().unwrap_or(Expr::Text(String::new())));
    let action = Action::Http {
        verb,
        url,
        body,
        headers: std::mem::take(&mut asked.headers),
        timeout: asked.timeout,
        strict: asked.strict,
    };
    Ok((action, asked))
}

/// How an argument begins, also where its end is known only when it runs.
fn beginning(arg: &Arg) -> &str {
    match (&arg.value, &arg.text) {
        (_, Some(text)) => text,
        (Expr::Join(parts), None) => match parts.first() {
            Some(Expr::Text(text)) => text,
            _ => "",
        },
        _ => "",
    }
}

/// `--option=value` as the option and its value.
fn split(arg: &Arg) -> (String, Option<Arg>) {
    let begin = beginning(arg);
    let Some((option, first)) = begin.split_once('=').filter(|_| begin.starts_with("--")) else {
        return (begin.to_owned(), None);
    };
    let first = Expr::Text(first.to_owned());
    let value = match (&arg.text, &arg.value) {
        (None, Expr::Join(parts)) => {
            let rest = parts.iter().skip(1).cloned();
            super::join(std::iter::once(first).chain(rest).collect())
        }
        _ => first,
    };
    let text = match &value {
        Expr::Text(text) => Some(text.clone()),
        _ => None,
    };
    let value = Arg {
        value,
        text,
        split: arg.split,
    };
    (option.to_owned(), Some(value))
}

/// `%{http_code}`.
fn is_status(format: &str) -> bool {
    matches!(
        format.trim_end_matches("\\n"),
        "%{http_code}" | "%{response_code}"
    )
}

type Value<'a> = &'a mut dyn FnMut() -> Result<Arg, Untranslated>;

/// Options of curl that have a value, which may stand at the end of a row of letters: `-sSXPOST`.
const WITH_VALUE: [char; 7] = ['X', 'H', 'd', 'm', 'o', 'w', 'u'];

fn of_curl(asked: &mut Asked, option: &str, value: Value<'_>) -> Result<(), Untranslated> {
    let row = option.strip_prefix('-').filter(|row| !row.starts_with('-'));
    let Some(row) = row else {
        return option_of_curl(asked, option, value);
    };
    for (at, letter) in row.char_indices() {
        let one = format!("-{letter}");
        if !WITH_VALUE.contains(&letter) {
            option_of_curl(asked, &one, value)?;
            continue;
        }
        let after = row.get(at + letter.len_utf8()..).unwrap_or_default();
        if after.is_empty() {
            return option_of_curl(asked, &one, value);
        }
        let mut attached = || Ok(Arg::fixed(after.to_owned()));
        return option_of_curl(asked, &one, &mut attached);
    }
    Ok(())
}

fn option_of_curl(asked: &mut Asked, option: &str, value: Value<'_>) -> Result<(), Untranslated> {
    match option {
        "-s"
        | "-S"
        | "-v"
        | "--verbose"
        | "--silent"
        | "--show-error"
        | "--no-progress-meter"
        | "--compressed" => {}
        "-f" | "--fail" => asked.strict = true,
        "-L" | "--location" => asked.elsewhere = true,
        "--url" => {
            if asked.url.replace(value()?.value).is_some() {
                return Err("curl of several URLs".into());
            }
        }
        "-X" | "--request" => asked.method = Some(value()?.word().to_owned()),
        "-H" | "--header" => header(asked, &value()?)?,
        "-d" | "--data" | "--data-raw" | "--data-ascii" | "--data-binary" => {
            let data = value()?;
            if data.word().starts_with('@') && option != "--data-raw" {
                return Err("data from a file".into());
            }
            if asked.body.replace(data.value).is_some() {
                return Err("several data".into());
            }
        }
        "-m" | "--max-time" => asked.timeout = Some(seconds(&value()?)?),
        "--connect-timeout" => {
            let given = seconds(&value()?)?;
            asked.timeout.get_or_insert(given);
        }
        "-o" | "--output" if value()?.word() == "/dev/null" => asked.quiet = true,
        "-w" | "--write-out" if is_status(value()?.word()) => asked.status = true,
        "-u" | "--user" => {
            let login = value()?;
            let login = login
                .text
                .as_deref()
                .ok_or("a login that is known only when it runs")?;
            let header = format!("Basic {}", STANDARD.encode(login));
            asked
                .headers
                .push(("authorization".into(), Expr::Text(header)));
        }
        _ => return Err(format!("curl {option}")),
    }
    Ok(())
}

fn of_wget(asked: &mut Asked, option: &str, value: Value<'_>) -> Result<(), Untranslated> {
    match option {
        "-q" | "--quiet" | "-nv" | "-qO/dev/null" => {}
        "-qO-" | "-O-" => asked.quiet = false,
        "-O" | "--output-document" | "-qO" => match value()?.word() {
            "-" => asked.quiet = false,
            "/dev/null" => {}
            _ => return Err("what is downloaded into a file".into()),
        },
        "-T" | "--timeout" => asked.timeout = Some(seconds(&value()?)?),
        "--post-data" => asked.body = Some(value()?.value),
        "--header" => header(asked, &value()?)?,
        "--method" => asked.method = Some(value()?.word().to_owned()),
        _ => return Err(format!("wget {option}")),
    }
    Ok(())
}

fn header(asked: &mut Asked, given: &Arg) -> Result<(), Untranslated> {
    let parts = match &given.value {
        Expr::Join(parts) => parts.clone(),
        one => vec![one.clone()],
    };
    let Some((Expr::Text(first), rest)) = parts.split_first() else {
        return Err("a header whose name is known only when it runs".into());
    };
    let (name, value) = first.split_once(':').ok_or("a header without a colon")?;
    let value = std::iter::once(Expr::Text(value.trim_start().to_owned()))
        .chain(rest.iter().cloned())
        .collect();
    asked
        .headers
        .push((name.trim().to_ascii_lowercase(), super::join(value)));
    Ok(())
}

/// As milliseconds.
fn seconds(given: &Arg) -> Result<u64, Untranslated> {
    let seconds: u64 = given.word().parse().map_err(|_| "this time".to_owned())?;
    Ok(seconds.clamp(1, 3600) * 1000)
}
