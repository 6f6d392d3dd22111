//! What inference servers log: CloudEvents whose data are requests and responses of the Open Inference Protocol v2.
//!
//! A pair of events, or a response alone, makes a row per case of the batch. The plan's columns are paths:
//!
//! | path | what |
//! |---|---|
//! | `event.id`, `event.time`, `event.NAME` | an attribute of the response's event, extensions too |
//! | `row` | which case of the batch, from 0 |
//! | `request.parameters.NAME`, `response.model_version`, ... | a member of the data; of a list with an element per case, the case's |
//! | `response.outputs.TENSOR`, `request.inputs.TENSOR` | the case's value of a tensor; of several values, their list |
//! | `response.outputs.TENSOR.2` | the third of the case's values |

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Row;

/// Which half of an inference an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Half {
    /// What was asked.
    Request,
    /// What was answered.
    Response,
}

impl Half {
    /// The word that the store uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// An event of an inference server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its id: that of the inference, the same for both halves.
    pub id: String,
    /// Which half it is.
    pub half: Half,
    /// Its attributes, extensions too.
    pub attributes: Map<String, Value>,
    /// The request or the response.
    pub data: Value,
}

/// The longest id of an event.
const LONGEST_ID: usize = 512;

impl Event {
    /// From attributes and data.
    ///
    /// # Errors
    /// Which attribute is missing or not understood.
    pub fn new(attributes: Map<String, Value>, data: Value) -> Result<Self, String> {
        let text = |name: &str| attributes.get(name).and_then(Value::as_str).unwrap_or_default();
        let id = text("id").to_owned();
        if id.is_empty() || id.len() > LONGEST_ID || id.chars().any(char::is_control) {
            return Err(format!("the event's id is missing, longer than {LONGEST_ID} bytes, or no text"));
        }
        let word = text("type");
        let half = match word.rsplit('.').next() {
            Some("request") => Half::Request,
            Some("response") => Half::Response,
            _ => {
                return Err(format!(
                    "the event's type {word:?} is not understood; it ends in .request or .response, such as \
                     org.kubeflow.serving.inference.response"
                ));
            }
        };
        if !data.is_object() {
            return Err(
                "the event's data is no JSON object; log payloads of the Open Inference Protocol v2 as JSON".into()
            );
        }
        Ok(Self { id, half, attributes, data })
    }

    /// One event, or an array of them, as `application/cloudevents+json` and `application/cloudevents-batch+json` have it.
    ///
    /// # Errors
    /// When the text is no JSON of that form.
    pub fn parse(text: &[u8]) -> Result<Vec<Result<Self, String>>, String> {
        let value: Value = serde_json::from_slice(text).map_err(|error| format!("the body is no JSON: {error}"))?;
        let events = match value {
            Value::Array(events) => events,
            one => vec![one],
        };
        let event = |event: Value| {
            let Value::Object(mut attributes) = event else { return Err("the event is no JSON object".to_owned()) };
            let data = attributes.remove("data").unwrap_or_default();
            Self::new(attributes, data)
        };
        Ok(events.into_iter().map(event).collect())
    }
}

/// The rows of an inference, a row per case of its batch, with the wanted columns.
///
/// # Errors
/// When the response has no tensors, or one that contradicts its shape.
pub fn rows(request: Option<&Event>, response: &Event, wanted: &[String]) -> Result<Vec<Row>, String> {
    let outputs = tensors(&response.data, "outputs")?;
    let inputs = request.map(|request| tensors(&request.data, "inputs")).transpose()?.unwrap_or_default();
    let batch = outputs.first().map(|tensor| tensor.rows).ok_or("the response has no outputs")?;
    let inference = Inference { request, response, inputs, outputs, batch };
    let columns: Arc<HashMap<String, usize>> = Arc::new(wanted.iter().cloned().zip(0..).collect());
    let row = |case: usize| {
        let values = wanted.iter().map(|column| inference.value(column, case)).collect();
        Row::typed(i64::try_from(case + 1).unwrap_or(i64::MAX), columns.clone(), values)
    };
    Ok((0..batch).map(row).collect())
}

struct Inference<'e> {
    request: Option<&'e Event>,
    response: &'e Event,
    inputs: Vec<Tensor<'e>>,
    outputs: Vec<Tensor<'e>>,
    batch: usize,
}

impl Inference<'_> {
    fn value(&self, column: &str, case: usize) -> Option<String> {
        let (of, rest) = column.split_once('.').unwrap_or((column, ""));
        match (of, rest.split_once('.')) {
            ("row", None) => Some(case.to_string()),
            ("event", _) => plain(self.response.attributes.get(rest)?),
            ("response", Some(("outputs", tensor))) => self.of_tensor(&self.outputs, tensor, case),
            ("request", Some(("inputs", tensor))) => self.of_tensor(&self.inputs, tensor, case),
            ("response", _) => self.member(&self.response.data, rest, case),
            ("request", _) => self.member(&self.request?.data, rest, case),
            _ => None,
        }
    }

    /// A member of the data. A list with an element per case says something of each.
    fn member(&self, data: &Value, path: &str, case: usize) -> Option<String> {
        let mut value = data;
        for name in path.split('.') {
            value = value.get(name)?;
        }
        match value {
            Value::Array(each) if each.len() == self.batch => plain(&each[case]),
            value => plain(value),
        }
    }

    fn of_tensor(&self, tensors: &[Tensor<'_>], path: &str, case: usize) -> Option<String> {
        let named = |name: &str| tensors.iter().find(|tensor| tensor.name == name);
        let (tensor, place) = named(path).map(|tensor| (tensor, None)).or_else(|| {
            let (name, place) = path.rsplit_once('.')?;
            Some((named(name)?, Some(place.parse::<usize>().ok()?)))
        })?;
        // What is not of the batch is said of every case.
        let from = if tensor.rows == self.batch { case * tensor.width } else { 0 };
        let values = tensor.values.get(from..from + tensor.width)?;
        match (place, values) {
            (Some(place), values) => plain(values.get(place)?),
            (None, [one]) => plain(one),
            (None, values) => {
                let texts: Vec<String> = values.iter().map(|value| plain(value).unwrap_or("null".into())).collect();
                Some(format!("[{}]", texts.join(",")))
            }
        }
    }
}

/// A tensor, flat.
struct Tensor<'e> {
    name: &'e str,
    rows: usize,
    width: usize,
    values: Vec<&'e Value>,
}

fn tensors<'e>(data: &'e Value, of: &str) -> Result<Vec<Tensor<'e>>, String> {
    let list = data.get(of).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let tensor = |tensor: &'e Value| {
        let name = tensor.get("name").and_then(Value::as_str).ok_or(format!("one of the {of} has no name"))?;
        let mut values = Vec::new();
        let data = tensor.get("data").ok_or(format!("{name:?} of the {of} has no data; binary data is not read"))?;
        flatten(data, &mut values);
        let shape = tensor.get("shape").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let shape: Option<Vec<usize>> =
            shape.iter().map(|length| length.as_u64().and_then(|length| usize::try_from(length).ok())).collect();
        let shape = shape.ok_or(format!("{name:?} of the {of} has a shape that is none"))?;
        let size = shape.iter().try_fold(1_usize, |size, length| size.checked_mul(*length));
        if size != Some(values.len()) {
            let many = values.len();
            return Err(format!("{name:?} of the {of} has {many} values where its shape {shape:?} says otherwise"));
        }
        let rows = shape.first().copied().unwrap_or(1);
        Ok(Tensor { name, rows, width: values.len().checked_div(rows).unwrap_or_default(), values })
    };
    list.iter().map(tensor).collect()
}

fn flatten<'e>(value: &'e Value, into: &mut Vec<&'e Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, into)),
        value => into.push(value),
    }
}

/// A value as a cell.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        value => Some(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(half: &str, data: Value) -> Event {
        let attributes = json!({ "id": "i1", "type": format!("org.kubeflow.serving.inference.{half}"),
            "time": "2025-02-01T10:00:00Z", "inferenceservicename": "chest" });
        Event::new(attributes.as_object().expect("an object").clone(), data).expect("an event")
    }

    #[test]
    fn a_batch_is_a_row_per_case_with_what_each_path_says() {
        let request = event(
            "request",
            json!({ "inputs": [{ "name": "embedding", "shape": [2, 2], "datatype": "FP32", "data": [[0.1, 0.2], [0.3, 0.4]] }],
                "parameters": { "case": ["a", "b"], "site": "north" } }),
        );
        let response = event(
            "response",
            json!({ "model_version": "7", "outputs": [
                { "name": "p.x", "shape": [2, 2], "datatype": "FP64", "data": [0.25, 0.75, 0.5, 0.125] },
                { "name": "temperature", "shape": [1], "datatype": "FP64", "data": [1.5] }] }),
        );
        let wanted = [
            "request.parameters.case",
            "request.parameters.site",
            "response.outputs.p.x.1",
            "row",
            "event.time",
            "request.inputs.embedding",
            "response.outputs.temperature",
            "response.model_version",
            "request.nothing",
        ];
        let wanted = wanted.map(str::to_owned);
        let rows = rows(Some(&request), &response, &wanted).expect("rows");
        let cells =
            |row: &Row| wanted.iter().map(|column| row.get(column).unwrap_or("-").to_owned()).collect::<Vec<_>>();
        assert_eq!(cells(&rows[0]), ["a", "north", "0.75", "0", "2025-02-01T10:00:00Z", "[0.1,0.2]", "1.5", "7", "-"]);
        assert_eq!(cells(&rows[1]), ["b", "north", "0.125", "1", "2025-02-01T10:00:00Z", "[0.3,0.4]", "1.5", "7", "-"]);
    }

    #[test]
    fn what_is_no_event_or_contradicts_itself_says_what_is_wrong() {
        let of = |data: Value| rows(None, &event("response", data), &[]).err().unwrap_or_default();
        assert!(of(json!({})).contains("no outputs"));
        assert!(of(json!({ "outputs": [{ "name": "p", "shape": [3], "data": [1] }] })).contains("shape"));
        assert!(of(json!({ "outputs": [{ "name": "p", "shape": [9e18, 9e18], "data": [1] }] })).contains("shape"));
        assert!(of(json!({ "outputs": [{ "name": "p", "shape": [1] }] })).contains("no data"));
        assert!(Event::parse(b"[{\"id\": 1}]").expect("JSON")[0].is_err());
        assert!(Event::parse(b"[").is_err());
        let other = Event::parse(br#"{"id": "x", "type": "a.b", "data": {}}"#).expect("JSON");
        assert!(other[0].as_ref().is_err_and(|message| message.contains("a.b")));
    }
}
