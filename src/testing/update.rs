//! Writes the actual plans into a test file.

use std::collections::BTreeMap;

use super::report::Update;

/// The text with its plans replaced. All updates must be for this text.
///
/// # Errors
/// The line, and why its plan cannot be replaced: it is not a literal, or it is compared with
/// different plans.
pub fn update(text: &str, updates: &[Update]) -> Result<String, (u32, String)> {
    let mut wanted: BTreeMap<u32, (&'static str, &[String])> = BTreeMap::new();
    for Update { line, mismatch, .. } in updates {
        let new = (mismatch.function, mismatch.actual.as_slice());
        if *wanted.entry(*line).or_insert(new) != new {
            return Err((
                *line,
                "this plan is compared with different ones: write it out for each".to_owned(),
            ));
        }
    }
    let mut text = text.to_owned();
    // From the end, so that earlier lines keep their numbers.
    for (line, (function, plan)) in wanted.into_iter().rev() {
        let (start, end, indent) = block(&text, line, function).ok_or_else(|| {
            (
                line,
                format!("the plan of {function} is not written out here as [[...]]"),
            )
        })?;
        let body: String = plan.iter().map(|effect| format!("{effect}\n")).collect();
        text.replace_range(start..end, &format!("\n{body}{indent}"));
    }
    Ok(text)
}

/// The content of the long string that the call on this line gets, and the blanks before its end.
fn block(text: &str, line: u32, function: &str) -> Option<(usize, usize, String)> {
    let skipped = usize::try_from(line).ok()?.checked_sub(1)?;
    let begin: usize = text.split_inclusive('\n').take(skipped).map(str::len).sum();
    let call = begin + text.get(begin..)?.find(function)? + function.len();
    // The call is on this line.
    if text.get(begin..call)?.contains('\n') {
        return None;
    }
    let rest = text.get(call..)?;
    let open = rest
        .trim_start()
        .strip_prefix('(')
        .unwrap_or(rest.trim_start())
        .trim_start();
    let level = open
        .strip_prefix('[')?
        .bytes()
        .take_while(|b| *b == b'=')
        .count();
    let inside = open.get(1 + level..)?.strip_prefix('[')?;
    let start = text.len() - inside.len();
    let length = inside.find(&format!("]{}]", "=".repeat(level)))?;
    let last = inside
        .get(..length)?
        .rsplit('\n')
        .next()
        .unwrap_or_default();
    let indent = if last.chars().all(|c| c == ' ' || c == '\t') {
        last.to_owned()
    } else {
        String::new()
    };
    Some((start, start + length, indent))
}

#[cfg(test)]
mod tests {
    use super::super::report::Mismatch;
    use super::*;

    fn at(line: u32, actual: &[&str]) -> Update {
        let actual = actual.iter().map(|line| (*line).to_owned()).collect();
        let mismatch = Mismatch {
            function: "expect_plan",
            expected: vec!["old".to_owned()],
            actual,
        };
        Update {
            file: "x_test.lua".to_owned(),
            line,
            mismatch,
        }
    }

    #[test]
    fn only_the_plan_on_its_line_is_replaced() {
        let text = "a()\n  h:expect_plan([[\nold\n  ]])\nh:expect_plan[=[old]=] -- why\n";
        let updated = update(text, &[at(2, &["one", "two"]), at(5, &[])]).unwrap();
        assert_eq!(
            updated,
            "a()\n  h:expect_plan([[\none\ntwo\n  ]])\nh:expect_plan[=[\n]=] -- why\n"
        );
    }

    #[test]
    fn what_cannot_be_replaced_is_told() {
        assert_eq!(
            update("h:expect_plan(text)\n", &[at(1, &["x"])])
                .unwrap_err()
                .0,
            1
        );
        assert_eq!(
            update("x = 1\nh:expect_plan([[old]])\n", &[at(1, &["x"])])
                .unwrap_err()
                .0,
            1
        );
        assert!(
            update("h:expect_plan([[old]])\n", &[at(1, &["x"]), at(1, &["y"])])
                .unwrap_err()
                .1
                .contains("different")
        );
        assert!(update("", &[at(9, &["x"])]).is_err() && update("", &[at(0, &["x"])]).is_err());
    }
}
