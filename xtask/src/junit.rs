//! Reads just enough of nextest's JUnit file to know what each test printed.

/// One line that a test printed to say that it did not run, with the test's name.
pub(crate) fn skipped(xml: &str) -> Vec<String> {
    let mut test = String::new();
    let mut found = Vec::new();
    for line in xml.lines() {
        if let Some(name) = line.split("<testcase name=\"").nth(1).and_then(|rest| rest.split('"').next()) {
            test = unescape(name);
        }
        if let Some(at) = line.find("SKIPPED:") {
            let reason = line[at..].split("</system-").next().unwrap_or_default();
            found.push(format!("{test}: {}", unescape(reason.trim_end())));
        }
    }
    found.sort();
    found.dedup();
    found
}

fn unescape(text: &str) -> String {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    entities.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    #[test]
    fn skipped_lines_are_found_with_their_test() {
        let xml = r#"<testsuite name="a"><testcase name="one" time="0.1">
            <system-out>fine</system-out></testcase>
            <testcase name="two::three" time="0.1">
            <system-err>noise
SKIPPED: no fanotify &amp; no root</system-err></testcase>"#;
        assert_eq!(super::skipped(xml), ["two::three: SKIPPED: no fanotify & no root"]);
    }
}
