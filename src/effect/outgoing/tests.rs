use super::*;

fn url(text: &str) -> Url {
    text.parse().unwrap_or_else(|err| panic!("{err}"))
}

#[test]
fn a_url_is_read_into_one_form() {
    for (given, read) in [
        ("http://192.168.32.10", "http://192.168.32.10/"),
        ("HTTP://Web.Example.NET:80/", "http://web.example.net/"),
        (
            "https://api.example.net:443/v1/a%2db",
            "https://api.example.net/v1/a%2Db",
        ),
        (
            "https://[2001:DB8:0::10]:8443/x?y=%c3%a4&z=/?",
            "https://[2001:db8::10]:8443/x?y=%C3%A4&z=/?",
        ),
        ("http://localhost?x", "http://localhost/?x"),
        (
            "http://localhost/?back=%2f..%2fx%25",
            "http://localhost/?back=%2F..%2Fx%25",
        ),
    ] {
        assert_eq!(url(given).to_string(), read);
        assert_eq!(url(read), url(given));
    }
    assert_eq!(url("https://[::1]/").endpoint().to_string(), "[::1]:443");
    assert_eq!(url("http://a/x?token=secret").without_query(), "http://a/x");
}

/// Each of these is read in two ways by somebody.
#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for bad in [
        "",
        "/v1/",
        "ftp://a/",
        "file:///etc/passwd",
        "http:/a/",
        "http://",
        "http:///x",
        "http://user@a/",
        "http://api.example.net@evil.example/",
        "http://api.example.net:pass@evil.example/",
        "http://a\\@evil.example/",
        "http://a\\.evil.example/",
        "http://a/x#y",
        "http://a/../x",
        "http://a/v1/..",
        "http://a/v1/./x",
        "http://a/%2e%2e/x",
        "http://a/%2E./x",
        "http://a/v1%2f..%2fx",
        "http://a/v1%5c..%5cx",
        "http://a/%252e%252e/",
        "http://a/%00",
        "http://a/?x=%0d%0a",
        "http://a/%0d%0aHost:%20evil",
        "http://a/%zz",
        "http://a/%2",
        "http://a/x y",
        "http://a/\r\nHost: evil",
        "http://a/\u{e4}",
        "http://\u{e4}.example/",
        "http://a:0/",
        "http://a:65536/",
        "http://a:+80/",
        "http://a:/",
        "http://a:80:80/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://a.0x7f/",
        "http://a..b/",
        "http://a./",
        "http://-a/",
        "http://[::1/",
        "http://[::1]80/",
        "http://[fe80::1%25eth0]/",
        "http://[127.0.0.1]/",
        "http://a/<x>",
        "http://a/x|y",
        "http://a%2eb/",
    ] {
        assert!(
            bad.parse::<Url>().is_err(),
            "{bad:?} was read as {}",
            url(bad)
        );
    }
    assert!(
        format!("http://a/{}", "x".repeat(2048))
            .parse::<Url>()
            .is_err()
    );
}

#[test]
fn a_grant_covers_what_is_below_it_and_nothing_beside_it() {
    for (grant, request, covers) in [
        (
            "https://api.example.net/v1/",
            "https://api.example.net/v1/ips/7",
            true,
        ),
        (
            "https://api.example.net/v1/",
            "https://api.example.net:443/v1/?x=1",
            true,
        ),
        (
            "https://api.example.net/v1/",
            "https://API.example.net/v1/",
            true,
        ),
        (
            "https://api.example.net/v1/",
            "https://api.example.net/v1",
            false,
        ),
        (
            "https://api.example.net/v1",
            "https://api.example.net/v1",
            true,
        ),
        (
            "https://api.example.net/v1",
            "https://api.example.net/v1/x",
            true,
        ),
        (
            "https://api.example.net/v1",
            "https://api.example.net/v10",
            false,
        ),
        (
            "https://api.example.net/",
            "https://api.example.net/anything",
            true,
        ),
        (
            "https://api.example.net/v1/",
            "http://api.example.net/v1/x",
            false,
        ),
        (
            "https://api.example.net/v1/",
            "https://api.example.net:8443/v1/x",
            false,
        ),
        (
            "https://api.example.net/v1/",
            "https://api.example.net.evil.example/v1/x",
            false,
        ),
        (
            "https://api.example.net/v1/",
            "https://evil.example/https://api.example.net/v1/",
            false,
        ),
        (
            "https://api.example.net/v1/",
            "https://api.example.net//v1/x",
            false,
        ),
        (
            "https://api.example.net/v1/?a=1",
            "https://api.example.net/v1/?a=1",
            true,
        ),
        (
            "https://api.example.net/v1/?a=1",
            "https://api.example.net/v1/?a=2",
            false,
        ),
        (
            "https://api.example.net/v1/?a=1",
            "https://api.example.net/v1/x?a=1",
            false,
        ),
    ] {
        assert_eq!(
            url(grant).covers(&url(request)),
            covers,
            "{grant} {request}"
        );
    }
}

#[test]
fn endpoints_need_a_port() {
    for good in [
        "192.168.32.10:80",
        "[2001:db8::10]:443",
        "db.example.net:5432",
    ] {
        assert_eq!(good.parse::<Endpoint>().unwrap().to_string(), good);
    }
    for bad in [
        "192.168.32.10",
        "a",
        ":80",
        "a:",
        "a:0",
        "::1:80",
        "[::1]",
        "a:80/x",
        "http://a:80",
        "a b:80",
        "127.1:80",
    ] {
        assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
    }
}

fn request(headers: &[(&str, &str)]) -> HttpRequest {
    HttpRequest {
        verb: HttpVerb::Post,
        url: url("https://api.example.net/v1/?key=secret"),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        body: b"{}".to_vec(),
        timeout_ms: 1000,
    }
}

#[test]
fn headers_that_frame_or_address_a_message_are_refused() {
    assert_eq!(
        request(&[
            ("Authorization", "Bearer x"),
            ("content-type", "application/json")
        ])
        .check(),
        Ok(())
    );
    for bad in [
        ("Host", "evil.example"),
        ("Content-Length", "0"),
        ("transfer-encoding", "chunked"),
        ("Connection", "upgrade"),
        ("x", "a\r\nb: c"),
        ("x", "a\nb"),
        ("x", "\u{e4}"),
        ("x y", "a"),
        ("x:", "a"),
        ("", "a"),
    ] {
        assert!(request(&[bad]).check().is_err(), "{bad:?}");
    }
    let long = "x".repeat(HEADER_BYTES_MAX);
    assert!(request(&[("x", &long)]).check().is_err());
    assert!(
        HttpRequest {
            body: vec![0; SENT_MAX + 1],
            ..request(&[])
        }
        .check()
        .is_err()
    );
}

#[test]
fn a_request_in_the_log_shows_no_secret() {
    let text = request(&[("authorization", "Bearer secret")]).to_string();
    assert_eq!(text, "http.post https://api.example.net/v1/ (2 bytes)");
}
