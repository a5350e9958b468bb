use super::*;

/// All of these were made by minisign 0.11.
const SIGNED: &[u8] = b"hello\n";

/// Locked with a password.
const KEY: &str = "\
untrusted comment: minisign public key 92639DC33396818E
RWSOgZYzw51jkpdmAVU4Dq+dCrIgIjBelH1cc7xhNLi37YLZye+Xy7EC";
const OTHER_KEY: &str = "\
untrusted comment: minisign public key 4A4FBCC167CD6302
RWQCY81nwbxPSigxnjzYeFYJTZ/5rlN4PFudP9J2DixKU+gL3zQQfRQ2";
/// By `KEY`.
const SIGNATURE: &str = "\
untrusted comment: signature from minisign secret key
RUSOgZYzw51jkqCQZcdJP5g1WBT7KISTdWH32nwnNlnn3S4639OLpkWVbJLXZbo6y22beAvtcic9yzxDq28gHYokONZWN8GHsA4=
trusted comment: trusted words
JPrmdh8A3jsqU3oganaYUJ8sxPETlRNVTqQtkfCqJ1m4m9xfeW13yiybh9z3ITjl8vIJc6SfVJMgJGuTvJJLBw==";
/// By `OTHER_KEY`.
const OTHER_SIGNATURE: &str = "\
untrusted comment: signature from minisign secret key
RUQCY81nwbxPSlcv/WQBFXr3A0kqR5l/E/1f0hj+07Sj1zlPWMtgie5Q4eNIUFxM0MoKjTIhFE5dgjbUxSovHxdTuunGu7QuFAo=
trusted comment: by b
uF45xKjiXGMcIvfAdjKoEj2hLW6smX/dgsz7xJLbZDLTyxCU2dSI/U7p4zAa8mFEE8zLE7xPER/DQ/HWRIwbDg==";
/// By `OTHER_KEY`, with `-l`.
const LEGACY: &str = "\
untrusted comment: signature from minisign secret key
RWQCY81nwbxPSuk38N/0BlunPP+GJYySL3m5wHzrETRRf2gUk9tCBp/05KduB8xTVWewNP22MYn5ffeykKVnSXmpPydw3CYYgA8=
trusted comment: timestamp:1795380667	file:f
SpRDZqj2EiIXv0hmOD8Mcj6feHrr9YEH7v287iXUDtQ9ZUc1BndfRJO/r/o6s8g06tGsthfhoLOYhi5Dxy/+BA==";

fn trust(keys: &[&str]) -> Trust {
    Trust {
        keys: keys
            .iter()
            .map(|key| Key::from_file(key).unwrap())
            .collect(),
        require_signature: true,
    }
}

/// A line of a signature, changed.
fn with_line(signature: &str, at: usize, change: impl Fn(&str) -> String) -> String {
    signature.lines().enumerate().map(|(n, line)| if n == at { change(line) } else { line.to_owned() } + "\n").collect()
}

#[test]
fn a_good_signature_tells_who_and_what() {
    let signer = trust(&[OTHER_KEY, KEY]).signer(SIGNED, SIGNATURE).unwrap();
    assert_eq!(
        (signer.key.to_string().as_str(), signer.comment.as_str()),
        ("92639DC33396818E", "trusted words")
    );
    assert!(
        trust(&[OTHER_KEY])
            .signer(SIGNED, &OTHER_SIGNATURE.replace('\n', "\r\n"))
            .is_ok()
    );
}

#[test]
fn every_doubt_is_a_refusal() {
    let both = trust(&[KEY, OTHER_KEY]);
    let (a, b) = (both.keys[0].id(), both.keys[1].id());
    assert_eq!(
        both.signer(b"hello", SIGNATURE),
        Err(Distrust::Broken(a)),
        "other bytes"
    );
    assert_eq!(both.signer(b"", SIGNATURE), Err(Distrust::Broken(a)));
    assert_eq!(
        trust(&[KEY]).signer(SIGNED, OTHER_SIGNATURE),
        Err(Distrust::Stranger {
            found: b,
            known: vec![a]
        })
    );
    assert_eq!(trust(&[]).signer(SIGNED, SIGNATURE), Err(Distrust::NoKeys));
    assert_eq!(both.signer(SIGNED, LEGACY), Err(Distrust::Legacy));
    for text in [
        "",
        "hello",
        "\n\n\n\n",
        &SIGNATURE[..80],
        KEY,
        "untrusted comment: x\n!!!!\ntrusted comment: y\n!!!!",
    ] {
        assert_eq!(
            both.signer(SIGNED, text),
            Err(Distrust::Malformed),
            "{text:?}"
        );
    }
}

#[test]
fn a_signature_of_one_kind_is_none_of_the_other() {
    let both = trust(&[KEY, OTHER_KEY]);
    let legacy_as_new = with_line(LEGACY, 1, |line| line.replacen("RWQ", "RUQ", 1));
    assert_eq!(
        both.signer(SIGNED, &legacy_as_new),
        Err(Distrust::Broken(both.keys[1].id()))
    );
    let new_as_legacy = with_line(SIGNATURE, 1, |line| line.replacen("RUS", "RWS", 1));
    assert_eq!(both.signer(SIGNED, &new_as_legacy), Err(Distrust::Legacy));
}

#[test]
fn the_trusted_comment_is_signed_too() {
    let both = trust(&[KEY, OTHER_KEY]);
    let other_words = SIGNATURE.replace("trusted words", "untrue words");
    assert_eq!(
        both.signer(SIGNED, &other_words),
        Err(Distrust::Broken(both.keys[0].id()))
    );
    let other_comment = SIGNATURE.replace("from minisign", "from somebody");
    assert!(
        both.signer(SIGNED, &other_comment).is_ok(),
        "nobody signs the untrusted comment"
    );
}

/// A stranger's key under the number of ours: the number names, the key proves.
#[test]
fn a_number_proves_nothing() {
    // The letters of the number, 16 bits to 80, are 3 to 12; what lies across is kept.
    let forged = with_line(OTHER_KEY, 1, |line| {
        format!("{}{}", &KEY.lines().nth(1).unwrap()[..13], &line[13..])
    });
    let forged = trust(&[&forged]);
    assert_eq!(forged.keys[0].id(), trust(&[KEY]).keys[0].id());
    assert!(matches!(
        forged.signer(SIGNED, SIGNATURE),
        Err(Distrust::Broken(_))
    ));
}

#[test]
fn what_is_no_key_is_refused() {
    for text in [
        "",
        "untrusted comment: x",
        "untrusted comment: x\nRWS",
        "untrusted comment: x\n!",
        &KEY.replace("RWS", "XXS"),
    ] {
        assert_eq!(Key::from_file(text), Err(BadKey), "{text:?}");
    }
    let line = KEY.lines().nth(1).unwrap();
    assert!(Key::looks_like(line) && line.parse::<Key>().is_ok());
    assert!(!Key::looks_like("keys/RWteam.pub") && Key::from_file(line).is_err());
}

#[test]
fn base64_is_read_and_written() {
    for (text, bytes) in [
        ("", &b""[..]),
        ("aA==", b"h"),
        ("aGk=", b"hi"),
        ("aGkh", b"hi!"),
        ("+/+/", &[0xfb, 0xff, 0xbf]),
    ] {
        assert_eq!(decode_base64(text).as_deref(), Some(bytes), "{text}");
        assert_eq!(encode_base64(bytes), text);
    }
    // Others leave the padding out, or bits in the last letter.
    for text in ["aA", "aB==", "aB"] {
        assert_eq!(decode_base64(text).as_deref(), Some(&b"h"[..]), "{text}");
    }
    for text in ["aG k", "a", "aGkh=aGkh", "aGk\n"] {
        assert_eq!(decode_base64(text), None, "{text:?}");
    }
}

#[test]
fn digests_are_read_as_they_are_written() {
    let digest = Digest::of(SIGNED);
    assert_eq!(
        digest.to_string(),
        "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    );
    assert_eq!(
        digest
            .to_string()
            .to_uppercase()
            .replace("SHA", "sha")
            .parse(),
        Ok(digest)
    );
    assert_eq!(digest.short(), "5891b5b522d5");
    let text = digest.to_string();
    for bad in [
        "",
        "sha256:",
        &text[7..],
        &text[..70],
        &format!("{text}0"),
        &text.replace("sha256:58", "sha256:+8"),
        "sha1:00",
    ] {
        assert_eq!(bad.parse::<Digest>(), Err(BadDigest), "{bad:?}");
    }
    assert_eq!(pinned(SIGNED, digest), Ok(()));
    assert!(
        matches!(pinned(b"hello", digest), Err(Distrust::Pin { pinned, .. }) if pinned == digest)
    );
}
