//! How a local app is checked.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::problem::Problem;
use crate::schema::{Field, Fields, Node, Problems, Schema, Shape, join};

/// How the local app is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// `GET` of this path answers 200 to 399.
    Http(String),
    /// The port takes a connection.
    Tcp,
    /// The process with the id in this file runs, and the port takes a connection.
    Process(PathBuf),
    /// `grpc.health.v1.Health/Check` answers SERVING.
    Grpc,
    /// This command, with its arguments, ends with status 0.
    Exec(Vec<String>),
}

impl Shape for Check {
    fn schema() -> Schema {
        Schema::Record(vec![
            Field::new("http", "`GET` of this path answers 200 to 399.", String::schema(), None),
            Field::new("tcp", "The port takes a connection.", bool::schema(), Some(true.into())),
            Field::new(
                "process",
                "The process with the id in this file runs, and the port is open.",
                PathBuf::schema(),
                None,
            ),
            Field::new("grpc", "`grpc.health.v1.Health/Check` answers SERVING.", bool::schema(), None),
            Field::new(
                "exec",
                "This command, with its arguments, ends with status 0.",
                Vec::<String>::schema(),
                None,
            ),
        ])
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, path, problems)?;
        let http: Option<String> = fields.optional("http", problems);
        let process: Option<PathBuf> = fields.optional("process", problems);
        let tcp: Option<bool> = fields.optional("tcp", problems);
        let grpc: Option<bool> = fields.optional("grpc", problems);
        let exec: Option<Vec<String>> = fields.optional("exec", problems);
        fields.finish(problems);
        match (http, process, tcp, grpc, exec) {
            (Some(target), None, None, None, None) if target.starts_with('/') => Some(Self::Http(target)),
            (Some(target), None, None, None, None) => {
                let what = format!("path {target:?} does not start with /");
                problems.push(Problem::at(join(path, "http"), what));
                None
            }
            (None, Some(file), None, None, None) => Some(Self::Process(file)),
            (None, None, Some(true), None, None) => Some(Self::Tcp),
            (None, None, None, Some(true), None) => Some(Self::Grpc),
            (None, None, None, None, Some(command)) if !command.is_empty() => Some(Self::Exec(command)),
            _ => {
                let what = "expected exactly one of http, tcp: true, process, grpc: true and exec";
                problems.push(Problem::at(path, what));
                None
            }
        }
    }

    fn write(&self) -> Value {
        let (key, value) = match self {
            Self::Http(target) => ("http", target.write()),
            Self::Tcp => ("tcp", true.into()),
            Self::Process(file) => ("process", file.write()),
            Self::Grpc => ("grpc", true.into()),
            Self::Exec(command) => ("exec", command.write()),
        };
        Value::Object(Map::from_iter([(key.to_owned(), value)]))
    }
}
