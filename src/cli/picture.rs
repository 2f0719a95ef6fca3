//! A job's graph as text that tools draw: boxes are tasks with the operators that run in them, arrows are exchanges.

use crate::engine::plan::{Plan, VertexKind};
use std::fmt::Write;

/// A graph as the drawing sees it.
struct Picture {
    /// Name of a node, and the lines in it.
    nodes: Vec<(String, Vec<String>, Shape)>,
    /// From, to, and what is on the arrow.
    arrows: Vec<(String, String, &'static str)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Outside,
    Task,
}

impl Picture {
    fn of(plan: &Plan) -> Self {
        let (mut nodes, mut arrows) = (Vec::new(), Vec::new());
        for (index, vertex) in plan.vertices.iter().enumerate() {
            let task = format!("task{index}");
            if let VertexKind::Source { topic } = &vertex.kind {
                let what = plan.sources.get(topic).map_or_else(|| format!("topic {topic}"), |source| source.describe());
                nodes.push((format!("source{index}"), vec![what], Shape::Outside));
                arrows.push((format!("source{index}"), task.clone(), ""));
            }
            let operators = if vertex.operators.is_empty() { vec!["exchange".to_owned()] } else { vertex.operators.clone() };
            nodes.push((task, operators, Shape::Task));
        }
        arrows.extend(plan.edges.iter().map(|edge| (format!("task{}", edge.from), format!("task{}", edge.to), "by key")));
        for (index, topic) in plan.topics.iter().enumerate() {
            let what = match plan.sinks.get(topic) {
                Some(sink) => vec![topic.clone(), sink.describe()],
                None => vec![format!("topic {topic}")],
            };
            nodes.push((format!("sink{index}"), what, Shape::Outside));
        }
        arrows.extend(plan.writes.iter().map(|(vertex, topic)| (format!("task{vertex}"), format!("sink{topic}"), "")));
        Self { nodes, arrows }
    }
}

/// For Graphviz.
pub(super) fn dot(plan: &Plan) -> String {
    let Picture { nodes, arrows } = Picture::of(plan);
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut text = String::from("digraph job {\n  rankdir = LR;\n");
    for (name, lines, shape) in nodes {
        let lines: Vec<String> = lines.iter().map(|line| quoted(line)).collect();
        let shape = if shape == Shape::Task { "box" } else { "cylinder" };
        let _ = writeln!(text, "  {name} [shape = {shape}, label = \"{}\"];", lines.join("\\n"));
    }
    for (from, to, label) in arrows {
        let _ = writeln!(text, "  {from} -> {to} [label = \"{label}\"];");
    }
    text + "}"
}

/// For Mermaid, which many web pages and editors draw.
pub(super) fn mermaid(plan: &Plan) -> String {
    let Picture { nodes, arrows } = Picture::of(plan);
    let quoted = |text: &str| text.replace('"', "#quot;");
    let mut text = String::from("flowchart LR");
    for (name, lines, shape) in nodes {
        let lines: Vec<String> = lines.iter().map(|line| quoted(line)).collect();
        let (open, close) = if shape == Shape::Task { ("[", "]") } else { ("[(", ")]") };
        let _ = write!(text, "\n  {name}{open}\"{}\"{close}", lines.join("<br>"));
    }
    for (from, to, label) in arrows {
        let label = if label.is_empty() { String::new() } else { format!("|{label}|") };
        let _ = write!(text, "\n  {from} -->{label} {to}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        connectors::{Collected, Collection},
        stream::{App, Emit, Halt, Key, KeyedProcess, OperatorContext, Timestamp},
    };

    struct Same;

    impl KeyedProcess<u64, u64> for Same {
        type Out = u64;

        fn process(&mut self, _: &Key<u64>, _: Timestamp, number: u64, out: &mut Emit<'_, u64>) -> Result<(), Halt> {
            out.push(number)
        }
    }

    fn plan() -> Plan {
        let app = App::new();
        let numbers = app.read("numbers", Collection::of([1_u64, 2]));
        numbers
            .key_by(|number| *number)
            .process("same", |_| |_: &mut OperatorContext<'_, '_>| Ok(Same))
            .write_lines("o\"ut", Collected::new());
        app.into_plan().unwrap()
    }

    #[test]
    fn a_graph_is_drawn_with_its_ends_its_tasks_and_its_exchanges() {
        assert_eq!(
            mermaid(&plan()),
            r#"flowchart LR
  source0[("a collection of 2 records")]
  task0["numbers"]
  task1["same"]
  sink0[("o#quot;ut<br>memory of this process")]
  source0 --> task0
  task0 -->|by key| task1
  task1 --> sink0"#
        );
        assert_eq!(
            dot(&plan()),
            r#"digraph job {
  rankdir = LR;
  source0 [shape = cylinder, label = "a collection of 2 records"];
  task0 [shape = box, label = "numbers"];
  task1 [shape = box, label = "same"];
  sink0 [shape = cylinder, label = "o\"ut\nmemory of this process"];
  source0 -> task0 [label = ""];
  task0 -> task1 [label = "by key"];
  task1 -> sink0 [label = ""];
}"#
        );
    }
}
