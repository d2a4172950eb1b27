//! What always holds of a graph, checked.
//!
//! In: a graph from anywhere. Out: [`Verified`], made nowhere else, or every violation. Checks: arguments point
//! backwards; types are what [`infer`] gives; scopes exist and their parents stand before them; open dims are declared;
//! one name is one input, weight or state with one type; results exist and names are unique; operations with several
//! results are used through `part` only; a loop's body takes what the loop hands in and gives what it carries.
//! Invariants: never panics on any graph. Imports: the graph, `uad-plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use uad_plan::{DType, Dim};

use super::build::infer;
use super::{Graph, Node, NodeId, Op, TensorType};

/// Loops inside loops.
const DEEPEST: usize = 32;

/// Something that passed [`verify`]. Consumers take nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// What was verified.
    pub fn get(self) -> T {
        self.0
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The loops around it, outermost first.
    pub inside: Vec<NodeId>,
    /// The node, if it is about one.
    pub node: Option<NodeId>,
    /// A sentence.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for id in self.inside.iter().chain(&self.node) {
            write!(f, "{id}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Checks everything, and collects all that is wrong.
pub fn verify(graph: &Graph) -> Result<Verified<&Graph>, Vec<Violation>> {
    let mut check = Check { inside: Vec::new(), dims: BTreeSet::new(), found: Vec::new() };
    check.graph(graph, None);
    if check.found.is_empty() { Ok(Verified(graph)) } else { Err(check.found) }
}

struct Check {
    inside: Vec<NodeId>,
    dims: BTreeSet<String>,
    found: Vec<Violation>,
}

impl Check {
    fn say(&mut self, node: Option<NodeId>, message: impl Into<String>) {
        self.found.push(Violation { inside: self.inside.clone(), node, message: message.into() });
    }

    fn dims_known<'a>(&mut self, node: Option<NodeId>, dims: impl IntoIterator<Item = &'a Dim>) {
        for d in dims {
            for name in d.names().into_iter().filter(|n| !self.dims.contains(n)).collect::<Vec<_>>() {
                self.say(node, format!("the dimension `{name}` is not one of the graph's"));
            }
        }
    }

    /// `of_loop`: the loop's arguments' types and its number of carried values.
    fn graph(&mut self, graph: &Graph, of_loop: Option<(&[&TensorType], usize)>) {
        if self.inside.len() > DEEPEST {
            return self.say(None, "loops are nested too deeply");
        }
        let outer = self.dims.clone();
        for name in &graph.dims {
            if !self.dims.insert(name.clone()) && of_loop.is_none() {
                self.say(None, format!("the dimension `{name}` is declared twice"));
            }
        }
        for (n, s) in graph.scopes.iter().enumerate() {
            if s.parent.is_some_and(|p| p.0 as usize >= n) {
                self.say(None, format!("the parent of scope @{n} does not stand before it"));
            }
        }
        for r in &graph.requires {
            self.dims_known(None, [&r.left, &r.right]);
        }
        let mut names = BTreeMap::new();
        for (n, node) in graph.nodes.iter().enumerate() {
            self.node(graph, NodeId(n as u32), node, &mut names);
        }
        self.results(graph);
        if let Some((args, carried)) = of_loop {
            self.body(graph, args, carried);
        }
        self.dims = outer;
    }

    fn node<'g>(
        &mut self,
        graph: &'g Graph,
        id: NodeId,
        node: &'g Node,
        names: &mut BTreeMap<(&'static str, &'g str), &'g TensorType>,
    ) {
        let at = Some(id);
        if node.scope.0 as usize >= graph.scopes.len() {
            self.say(at, format!("there is no scope @{}", node.scope.0));
        }
        if let Some(a) = node.args.iter().find(|a| **a >= id) {
            return self.say(at, format!("the argument {a} does not stand before it"));
        }
        self.dims_known(at, &node.ty.shape);
        if let Op::Input(name) | Op::Weight(name) | Op::State(name) = &node.op {
            let first = *names.entry((node.op.name(), name.as_str())).or_insert(&node.ty);
            if *first != node.ty {
                self.say(at, format!("the {} `{name}` is both {first} and {}", node.op.name(), node.ty));
            }
        }
        if let Op::Const(v) = node.op {
            self.value_fits(at, v, node.ty.dtype);
        }
        if let Op::Literal(values) = &node.op {
            values.iter().for_each(|v| self.value_fits(at, *v, node.ty.dtype));
        }
        let own: Vec<&Dim> = match &node.op {
            Op::Size(d) => vec![d],
            Op::Slice { start, .. } => start.iter().collect(),
            Op::Pad { lo, hi, .. } => lo.iter().chain(hi).collect(),
            Op::Loop { count, every, .. } => std::iter::once(count).chain(every).collect(),
            Op::Input(_)
            | Op::Weight(_)
            | Op::State(_)
            | Op::Const(_)
            | Op::Literal(_)
            | Op::Iota { .. }
            | Op::Draw { .. }
            | Op::Map(_)
            | Op::Reduce { .. }
            | Op::Permute(_)
            | Op::Reshape
            | Op::Expand { .. }
            | Op::Window { .. }
            | Op::Concat { .. }
            | Op::Dot { .. }
            | Op::Gather { .. }
            | Op::ScatterAdd { .. }
            | Op::ArgSort { .. }
            | Op::Scan(_)
            | Op::Eigh
            | Op::Cholesky
            | Op::Part(_)
            | Op::Stop => vec![],
        };
        self.dims_known(at, own);
        let types: Vec<&TensorType> = node.args.iter().map(|a| graph.ty(*a)).collect();
        if let Op::Loop { carried, body, .. } = &node.op {
            let before = self.found.len();
            self.inside.push(id);
            self.graph(body, Some((&types, *carried)));
            self.inside.pop();
            if self.found.len() > before {
                return;
            }
        }
        if !matches!(node.op, Op::Part(_))
            && let Some(a) = node.args.iter().find(|a| several(graph, **a))
        {
            self.say(at, format!("{a} has several results; take one with `part`"));
        }
        let given = match node.op {
            Op::Part(n) => part(graph, node, n),
            _ => infer(&node.op, &types, &node.ty).map_err(|e| e.0),
        };
        match given {
            Err(message) => self.say(at, message),
            Ok(ty) if ty != node.ty => {
                self.say(at, format!("`{}` gives {ty}, but the node says {}", node.op.name(), node.ty));
            }
            Ok(_) => {}
        }
    }

    fn value_fits(&mut self, at: Option<NodeId>, v: f64, dtype: DType) {
        let fits = match dtype {
            DType::F32 => true,
            DType::I32 => v.trunc() == v && v >= f64::from(i32::MIN) && v <= f64::from(i32::MAX),
            DType::Bool => v == 0.0 || v == 1.0,
        };
        if !fits {
            self.say(at, format!("{v} is not a value of {dtype}"));
        }
    }

    fn results(&mut self, graph: &Graph) {
        for (word, list) in [("output", &graph.outputs), ("write", &graph.writes), ("name", &graph.named)] {
            let mut seen = BTreeSet::new();
            for (name, id) in list {
                if id.0 as usize >= graph.nodes.len() {
                    self.say(None, format!("the {word} `{name}` is {id}, which does not exist"));
                } else if several(graph, *id) {
                    self.say(None, format!("the {word} `{name}` is {id}, which has several results"));
                }
                if !seen.insert(name) {
                    self.say(None, format!("the {word} `{name}` stands there twice"));
                }
            }
        }
    }

    fn body(&mut self, body: &Graph, args: &[&TensorType], carried: usize) {
        for (n, node) in body.nodes.iter().enumerate() {
            let Op::Input(name) = &node.op else { continue };
            let want = match name.as_str() {
                "round" => Some(TensorType::new(DType::I32, vec![])),
                other => other.parse::<usize>().ok().and_then(|n| args.get(n)).map(|t| (*t).clone()),
            };
            let at = Some(NodeId(n as u32));
            match want {
                None => self.say(at, format!("a body with {} arguments has no input `{name}`", args.len())),
                Some(want) if want != node.ty => {
                    self.say(at, format!("the input `{name}` is {}, but the loop hands in {want}", node.ty));
                }
                Some(_) => {}
            }
        }
        if !body.writes.is_empty() {
            self.say(None, "a loop's body writes nothing");
        }
        let extra = body.outputs.get(carried..).unwrap_or_default();
        let fits = match extra {
            [] => body.outputs.len() == carried,
            [(name, id)] => {
                let ty = body.nodes.get(id.0 as usize).map(|n| &n.ty);
                name == "until" && ty.is_none_or(|t| *t == TensorType::new(DType::Bool, vec![]))
            }
            _ => false,
        };
        if !fits {
            self.say(None, format!("a body gives the {carried} carried values, then at most a bool `until`"));
        }
    }
}

fn several(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.nodes.get(id.0 as usize).map(|n| &n.op), Some(Op::Loop { .. } | Op::Eigh))
}

/// The type of a part.
fn part(graph: &Graph, node: &Node, n: usize) -> Result<TensorType, String> {
    let [of] = node.args.as_slice() else { return Err("`part` takes one argument".into()) };
    let source = graph.node(*of);
    let types: Vec<&TensorType> = match &source.op {
        Op::Loop { carried, .. } => source.args.iter().take(*carried).map(|a| graph.ty(*a)).collect(),
        Op::Eigh => std::iter::once(&source.ty).chain(source.args.first().map(|a| graph.ty(*a))).collect(),
        other => return Err(format!("`{}` has one result, no parts", other.name())),
    };
    let count = types.len();
    types.get(n).map(|t| (*t).clone()).ok_or_else(|| format!("{of} has {count} results, not one of number {n}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::text::parse;
    use crate::graph::{Scope, ScopeId};

    fn violations(text: &str) -> String {
        let graph = parse(text).unwrap();
        match verify(&graph) {
            Ok(_) => "nothing".into(),
            Err(v) => v.iter().map(Violation::to_string).collect::<Vec<_>>().join("\n"),
        }
    }

    #[test]
    fn types_follow_from_arguments() {
        insta::assert_snapshot!(violations(
            r#"graph g(b) {
              %0 = input "x" : f32[b, 3]
              %1 = permute %0 [1, 0] : f32[b, 3]
              %2 = add %0, %1 : f32[b, 3]
              %3 = input "x" : f32[b]
              %4 = input "y" : f32[n]
              %5 = const 0.5 : i32
              %6 = const 2 : bool
              %7 = reshape %0 : f32[2*b]
              output "y" = %0
              output "y" = %1
            }"#
        ));
    }

    #[test]
    fn loops_hand_in_and_carry_on() {
        insta::assert_snapshot!(violations(
            r#"graph g(b) {
              %0 = input "x" : f32[b]
              %1 = loop %0, %0 count=[4] carried=1 : f32[b] {
                %0 = input "0" : f32[b]
                %1 = input "1" : f32
                %2 = input "2" : f32
                %3 = input "round" : f32
                output "0" = %0
                output "unless" = %0
              }
              %2 = neg %1 : f32[b]
              %3 = part %1 index=1 : f32[b]
              %4 = loop %0 count=[4] carried=1 : f32[b] {
                %0 = input "0" : f32[b]
                %1 = reduce.sum %0 axes=[0] : f32
                %2 = lt %1, %1 : bool
                output "0" = %1
                output "until" = %2
              }
              %5 = part %0 index=0 : f32[b]
              output "y" = %4
            }"#
        ));
    }

    #[test]
    fn ids_exist() {
        let mut graph = Graph::default();
        let node = |args: Vec<u32>| Node {
            op: Op::Stop,
            args: args.into_iter().map(NodeId).collect(),
            ty: TensorType::new(DType::F32, vec![]),
            scope: ScopeId(7),
        };
        graph.nodes = vec![node(vec![0]), node(vec![]), node(vec![9])];
        let scope =
            |p| Scope { parent: Some(ScopeId(p)), label: "s".into(), place: "".into(), instance: true, kernel: None };
        graph.scopes = vec![scope(0), scope(3)];
        graph.outputs = vec![("y".into(), NodeId(3))];
        let all: Vec<String> = verify(&graph).unwrap_err().iter().map(Violation::to_string).collect();
        insta::assert_snapshot!(all.join("\n"));
        // Printing what is wrong must work, too: it is how one sees it.
        let _ = graph.to_string();
    }

    #[test]
    fn a_right_graph_is_verified() {
        assert_eq!(
            violations(
                r#"graph g(b) {
                  %0 = input "x" : f32[b, 2, 2]
                  %1 = eigh %0 : f32[b, 2]
                  %2 = part %1 index=0 : f32[b, 2]
                  %3 = part %1 index=1 : f32[b, 2, 2]
                  %4 = loop %3, %2 count=[b] carried=1 every=[2] : f32[b, 2, 2] {
                    %0 = input "0" : f32[b, 2, 2]
                    %1 = input "round" : i32
                    %2 = const 3 : i32
                    %3 = le %2, %1 : bool
                    output "0" = %0
                    output "until" = %3
                  }
                  %5 = part %4 index=0 : f32[b, 2, 2]
                  output "y" = %5
                }"#
            ),
            "nothing"
        );
    }
}
