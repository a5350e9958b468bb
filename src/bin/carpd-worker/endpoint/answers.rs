//! Which path is answered how.

use std::time::Duration;

use carpd::host::clock;
use carpd::types::State;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};

use super::desk::{Dated, Desk, Silence};
use super::view::View;
use super::{exposition, page};

/// How old what is shown is, in seconds.
const AGE: HeaderName = HeaderName::from_static("carpd-age-seconds");

/// No page may load anything, or be shown within another.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What there is, for whoever asks for something else.
const PATHS: &str = "There are / /metrics /status /healthz /readyz /master/NAME\n";

/// What metrics there are.
const FORMATS: &str = "There is format=openmetrics and format=prometheus\n";

/// So many virtual hosts that are not ready are named.
const NAMED_MAX: usize = 20;

type Answer = Response<Full<Bytes>>;

/// Answers one request. Its body is not read.
pub(super) async fn answer<B>(desk: &Desk, request: &Request<B>) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = said(StatusCode::METHOD_NOT_ALLOWED, "It can only be read.\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(ALLOW, allowed);
        return answer;
    }
    let path = request.uri().path();
    let answered = match path {
        "/" => show_page(desk).await,
        "/metrics" => metrics(desk, request).await,
        "/status" => status(desk).await,
        "/healthz" => health(desk, |_| Ok("ok\n".to_owned())).await,
        "/readyz" => health(desk, readiness).await,
        _ => match path.strip_prefix("/master/") {
            Some(name) => master(desk, name).await,
            None => return said(StatusCode::NOT_FOUND, PATHS),
        },
    };
    match answered {
        Ok(answer) => answer,
        // Somebody looks at it.
        Err(silence) if path == "/" => {
            let page = page::of_silence(&desk.node, silence.since);
            respond(StatusCode::SERVICE_UNAVAILABLE, HTML, page.into(), None)
        }
        Err(silence) => {
            let since = silence
                .since
                .map(|since| format!(" since {:.1} s", since.as_secs_f64()));
            let text = format!("The engine does not answer{}.\n", since.unwrap_or_default());
            said(StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

async fn show_page(desk: &Desk) -> Result<Answer, Silence> {
    let status = desk.status().await?;
    let age = age_of(&*status);
    let page = desk.page(&status).with_age(age);
    Ok(respond(StatusCode::OK, HTML, page.into(), Some(age)))
}

async fn metrics<B>(desk: &Desk, request: &Request<B>) -> Result<Answer, Silence> {
    let Some(is_open) = is_open_wanted(request) else {
        return Ok(said(StatusCode::BAD_REQUEST, FORMATS));
    };
    let metrics = desk.metrics().await?;
    let age = age_of(&*metrics);
    let (kept, kind) = if is_open {
        (&metrics.openmetrics, exposition::OPEN)
    } else {
        (&metrics.text, exposition::TEXT)
    };
    let mut body = Vec::with_capacity(kept.len() + 256);
    body.extend_from_slice(kept);
    body.extend_from_slice(exposition::tail(age, is_open).as_bytes());
    let kind = HeaderValue::from_static(kind);
    Ok(respond(StatusCode::OK, kind, body.into(), Some(age)))
}

/// Whether OpenMetrics is wanted: as the query says, or else as the client prefers. `None`: the
/// query asks for something else.
fn is_open_wanted<B>(request: &Request<B>) -> Option<bool> {
    let query = request.uri().query().unwrap_or_default();
    let format = query
        .split('&')
        .find_map(|parameter| parameter.strip_prefix("format="));
    match format {
        Some("openmetrics") => Some(true),
        Some("prometheus") => Some(false),
        Some(_) => None,
        None => {
            let accepted = request.headers().get_all(ACCEPT).iter();
            let accepted = accepted.filter_map(|value| value.to_str().ok());
            Some(exposition::wants_open(accepted))
        }
    }
}

async fn status(desk: &Desk) -> Result<Answer, Silence> {
    let status = desk.status().await?;
    let (json, age) = (status.json.clone(), age_of(&*status));
    Ok(respond(StatusCode::OK, JSON, json, Some(age)))
}

async fn health(
    desk: &Desk,
    judge: impl FnOnce(&View) -> Result<String, String>,
) -> Result<Answer, Silence> {
    let status = desk.status().await?;
    let (code, text) = match judge(&status.view) {
        Ok(text) => (StatusCode::OK, text),
        Err(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
    };
    Ok(respond(code, TEXT, text.into(), Some(age_of(&*status))))
}

/// Every virtual host takes part: this node serves, or could.
fn readiness(view: &View) -> Result<String, String> {
    let unready: Vec<String> = view
        .vhosts
        .iter()
        .filter(|vhost| !vhost.is_ready())
        .map(|vhost| format!("{}: {}\n", vhost.name, vhost.condition.escape_debug()))
        .collect();
    if unready.is_empty() {
        return Ok("ready\n".to_owned());
    }
    let more = unready.len().saturating_sub(NAMED_MAX);
    let mut text: String = unready.into_iter().take(NAMED_MAX).collect();
    if more > 0 {
        text += &format!("and {more} more\n");
    }
    Err(text)
}

async fn master(desk: &Desk, name: &str) -> Result<Answer, Silence> {
    let status = desk.status().await?;
    let mut vhosts = status.view.vhosts.iter();
    let (code, text) = match vhosts.find(|vhost| vhost.name.as_str() == name) {
        None => (
            StatusCode::NOT_FOUND,
            "There is no such virtual host.\n".to_owned(),
        ),
        Some(vhost) if vhost.state == State::Master && vhost.holding => {
            (StatusCode::OK, "master\n".to_owned())
        }
        Some(vhost) => {
            let without = if vhost.state == State::Master {
                ", without its addresses"
            } else {
                ""
            };
            let text = format!("{}{without}\n", vhost.state);
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
    };
    Ok(respond(code, TEXT, text.into(), Some(age_of(&*status))))
}

fn age_of(told: &impl Dated) -> Duration {
    clock::now().since(told.at())
}

fn said(code: StatusCode, text: impl Into<Bytes>) -> Answer {
    respond(code, TEXT, text.into(), None)
}

fn respond(code: StatusCode, kind: HeaderValue, body: Bytes, age: Option<Duration>) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    let age = age.and_then(|age| format!("{:.3}", age.as_secs_f64()).parse().ok());
    if let Some(age) = age {
        headers.insert(AGE, age);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_who_takes_part_everywhere() {
        let view = |states: &[(&str, bool)]| View {
            vhosts: (1..)
                .zip(states)
                .map(|(n, (state, holding))| {
                    super::super::view::tests::vhost(&format!("v{n}"), state, *holding)
                })
                .collect(),
            ..View::default()
        };
        assert!(readiness(&view(&[("master", true), ("backup", false)])).is_ok());
        let unready = view(&[("master", false), ("backup", false), ("init", false)]);
        let text = readiness(&unready).unwrap_err();
        assert_eq!(text, "v1: it is so\nv3: it is so\n");
        let many = readiness(&view(&[("init", false); 100])).unwrap_err();
        assert!(many.ends_with("v20: it is so\nand 80 more\n"), "{many}");
    }
}
