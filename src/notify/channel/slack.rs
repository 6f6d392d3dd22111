//! The message of an incoming webhook of Slack; Mattermost and Rocket.Chat read it too.

use serde_json::{Value, json};

use super::cut;
use crate::notify::Letter;

/// Slack refuses longer headers.
const MOST_HEADER: usize = 150;
/// Slack refuses longer sections; what an escape adds counts.
const MOST_SECTION: usize = 2900;

/// Text for whoever shows no blocks, and blocks.
pub fn message(letter: &Letter<'_>) -> Value {
    let report = letter.report;
    let lines: Vec<String> =
        report.lines.iter().map(|(label, text)| format!("*{}*: {}", escaped(label), escaped(text))).collect();
    let mut blocks = vec![
        json!({ "type": "header", "text": { "type": "plain_text", "text": cut(&report.subject, MOST_HEADER), "emoji": false } }),
        section(&lines.join("\n")),
    ];
    let mut look: Vec<String> =
        report.links.iter().map(|(label, url)| format!("<{}|{}>", escaped(url), escaped(label))).collect();
    look.extend(report.command.iter().map(|command| format!("```{}```", escaped(command))));
    if !look.is_empty() {
        blocks.push(section(&look.join("\n")));
    }
    if let Some(caveat) = &report.caveat {
        let text = json!({ "type": "mrkdwn", "text": cut(&escaped(caveat), MOST_SECTION) });
        blocks.push(json!({ "type": "context", "elements": [text] }));
    }
    json!({ "text": escaped(&report.subject), "blocks": blocks })
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": cut(text, MOST_SECTION) } })
}

/// Slack's three control characters; without them a slice's name could be a link or mention everybody.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::channel::example;

    #[test]
    fn the_message_has_text_and_blocks_and_escapes_what_slack_would_read() {
        let report = example::report();
        let expected: Value = serde_json::from_str(
            r#"{
                "text": "[page] auroc-low: auroc of effusion, site=A &amp; B below 0.75 (chest-xray 2.1)",
                "blocks": [
                    { "type": "header", "text": { "type": "plain_text", "emoji": false,
                        "text": "[page] auroc-low: auroc of effusion, site=A & B below 0.75 (chest-xray 2.1)" } },
                    { "type": "section", "text": { "type": "mrkdwn",
                        "text": "*What*: auroc is below the limit &lt;0.75&gt;\n*Where*: model chest-xray, slice site=A &amp; B" } },
                    { "type": "section", "text": { "type": "mrkdwn",
                        "text": "<http://dosimeter:9187/api/v1/alerts|Alerts>\n```dosimeter query --config FILE --slice 'site=A &amp; B'```" } },
                    { "type": "context", "elements": [{ "type": "mrkdwn", "text": "A fixed limit." }] }
                ]
            }"#,
        )
        .expect("JSON");
        assert_eq!(message(&example::letter(&report)), expected);
    }

    #[test]
    fn what_slack_would_refuse_is_cut() {
        let mut report = example::report();
        report.subject = "x".repeat(400);
        report.lines.push(("Why".to_owned(), "<".repeat(4000)));
        let message = message(&example::letter(&report));
        let length = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).map(|text| text.chars().count());
        assert_eq!(length("/blocks/0/text/text"), Some(150));
        assert!(length("/blocks/1/text/text").is_some_and(|length| length <= 3000));
    }
}
