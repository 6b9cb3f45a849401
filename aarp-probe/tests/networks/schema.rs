//! Records against the schemas in docs/json-schema, by a validator that is not ours:
//! python3-jsonschema.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// Reads records, one a line, and checks each against the schema of its type.
const VALIDATE: &str = r#"
import json, sys, pathlib
import jsonschema
folder = pathlib.Path(sys.argv[1])
failed = False

def close(schema):
    """A reader allows for fields to come; what is printed today is all described."""
    if isinstance(schema, dict):
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for part in schema.values():
            close(part)
    elif isinstance(schema, list):
        for part in schema:
            close(part)

for number, line in enumerate(sys.stdin):
    record = json.loads(line)
    schema = json.loads((folder / (record["type"] + ".json")).read_text())
    close(schema)
    validator = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.FormatChecker(["ipv6"]))
    jsonschema.Draft202012Validator.check_schema(schema)
    for error in validator.iter_errors(record):
        print(number, record["type"], list(error.absolute_path), error.message, file=sys.stderr)
        failed = True
sys.exit(failed)
"#;

/// A Python that has the validator.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let names = ["python3", "/usr/bin/python3"];
        let has = |name: &&str| {
            let mut command = Command::new(name);
            command
                .args(["-c", "import jsonschema"])
                .stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        names.into_iter().find(has).map(PathBuf::from)
    };
    PYTHON.get_or_init(find).as_deref()
}

/// The complaints about these records; none where there is no validator, and then
/// [`the_schemas_are_used`] says so.
fn complaints(records: &[Value]) -> String {
    let Some(python) = python() else {
        return String::new();
    };
    // Tests of several packages include this file.
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut folders = folders.map(|folder| folder.join("docs/json-schema"));
    let folder = folders.find(|folder| folder.is_dir()).unwrap();
    let mut child = Command::new(python)
        .args(["-c", VALIDATE])
        .arg(folder)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for record in records {
        writeln!(stdin, "{record}").unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.success(), text.is_empty(), "{text}");
    text
}

/// # Panics
/// When a record is not as its schema says.
pub fn validate(records: &[Value]) {
    let complaints = complaints(records);
    assert!(complaints.is_empty(), "{complaints}\n{records:?}");
}

#[test]
fn the_schemas_are_used() {
    if python().is_none() {
        let why = "python3-jsonschema is not installed";
        aarp_lab::rootless::skipped("the_schemas_are_used", why);
        return;
    }
    let good = r#"{"schema":1,"type":"resolve","time":"2026-11-21T22:44:24.499Z",
        "name":"www.any.test","anycast":"2001:db8:a::1","state":"pinned",
        "unicast":"2001:db8:2::2","rtt_ms":0.081,"method":"echo","socket":"ping socket",
        "probes":1,"ignored":{},"reason":null,"bypass":null,"library_bypass":null}"#;
    let good: Value = serde_json::from_str(good).unwrap();
    validate(std::slice::from_ref(&good));
    let mut wrong = Vec::new();
    for (field, value) in [
        ("schema", Value::from(2)),
        ("state", "asleep".into()),
        ("unicast", "192.0.2.1".into()),
        ("rtt_ms", "0.081".into()),
        ("probes", Value::Null),
        ("time", "yesterday".into()),
        ("not_described", 1.into()),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        wrong.push((field, bad));
        let mut missing = good.clone();
        if missing.as_object_mut().unwrap().remove(field).is_some() {
            wrong.push((field, missing));
        }
    }
    let records: Vec<Value> = wrong.iter().map(|(_, record)| record.clone()).collect();
    let complaints = complaints(&records);
    for (number, (field, _)) in wrong.iter().enumerate() {
        let said = |line: &str| line.starts_with(&format!("{number} ")) && line.contains(field);
        assert!(
            complaints.lines().any(said),
            "{number} {field}: {complaints}"
        );
    }
}
