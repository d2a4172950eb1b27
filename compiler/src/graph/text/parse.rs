//! Text to graph.
//!
//! In: `.uadg` text. Out: a graph with valid ids, or the first thing that is not understood, with its place.
//! Invariants: never panics, nesting is bounded. Imports: the graph, `uad-plan`.

use std::fmt;

use uad_plan::{DType, Dim, ReduceOp, Relation, Require, ScalarOp};

use crate::graph::build::infer;
use crate::graph::{Graph, Node, NodeId, Op, Scope, ScopeId, TensorType};

/// Loops inside loops.
const DEEPEST: usize = 32;

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// A sentence.
    pub message: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}
impl std::error::Error for TextError {}

/// Reads one graph.
pub fn parse(text: &str) -> Result<Graph, TextError> {
    let mut p = Parser { text, at: 0, start: 0 };
    p.word_is("graph")?;
    let mut graph = Graph { name: if p.peek() == Some('"') { p.string()? } else { p.word()? }, ..Graph::default() };
    graph.dims = p.dim_names()?;
    p.sign("{")?;
    p.body(&mut graph, 0)?;
    p.blank();
    p.start = p.at;
    if p.at < text.len() { p.fail("text after the graph") } else { Ok(graph) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// Where the last thing that was read begins: errors point there.
    start: usize,
}

type Read<T> = Result<T, TextError>;

/// Attributes of a node, by name.
struct Attributes(Vec<(String, String)>);

impl<'a> Parser<'a> {
    fn fail<T>(&self, message: impl Into<String>) -> Read<T> {
        let before = self.text.get(..self.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Err(TextError { line, column, message: message.into() })
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blank(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.blank();
        self.rest().chars().next()
    }

    fn eat(&mut self, sign: &str) -> bool {
        self.blank();
        let hit = self.rest().starts_with(sign);
        if hit {
            self.start = self.at;
            self.at += sign.len();
        }
        hit
    }

    fn here(&mut self) -> String {
        self.blank();
        self.start = self.at;
        match self.rest().chars().next() {
            None => "the end".into(),
            Some(c) => {
                let word: String =
                    self.rest().chars().take_while(|c| c.is_alphanumeric() || *c == '_').take(24).collect();
                if word.is_empty() { format!("`{c}`") } else { format!("`{word}`") }
            }
        }
    }

    fn sign(&mut self, sign: &str) -> Read<()> {
        if self.eat(sign) {
            return Ok(());
        }
        let here = self.here();
        self.fail(format!("expected `{sign}`, found {here}"))
    }

    /// Letters, digits, `_` and `.`; not empty.
    fn word(&mut self) -> Read<String> {
        self.blank();
        let word: String =
            self.rest().chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')).collect();
        if word.is_empty() {
            let here = self.here();
            return self.fail(format!("expected a word, found {here}"));
        }
        self.start = self.at;
        self.at += word.len();
        Ok(word)
    }

    fn word_is(&mut self, want: &str) -> Read<()> {
        let at = self.at;
        match self.word() {
            Ok(w) if w == want => Ok(()),
            _ => {
                self.at = at;
                let here = self.here();
                self.fail(format!("expected `{want}`, found {here}"))
            }
        }
    }

    /// The next word, without taking it.
    fn next_is(&mut self, want: &str) -> bool {
        self.blank();
        let Some(rest) = self.rest().strip_prefix(want) else { return false };
        !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
    }

    fn keyword(&mut self, want: &str) -> bool {
        let hit = self.next_is(want);
        if hit {
            self.start = self.at;
            self.at += want.len();
        }
        hit
    }

    fn string(&mut self) -> Read<String> {
        self.sign("\"")?;
        let mut out = String::new();
        let mut chars = self.rest().char_indices();
        let bad = |p: &Self| p.fail("a text without its closing `\"`, or with an unknown escape");
        while let Some((n, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += n + 1;
                    return Ok(out);
                }
                '\n' => break,
                '\\' => match chars.next().map(|c| c.1) {
                    Some('n') => out.push('\n'),
                    Some('r') => out.push('\r'),
                    Some('t') => out.push('\t'),
                    Some('0') => out.push('\0'),
                    Some(c @ ('\\' | '"' | '\'')) => out.push(c),
                    Some('u') => {
                        let code: String = chars.by_ref().map(|c| c.1).take_while(|c| *c != '}').take(9).collect();
                        let code = code.strip_prefix('{').and_then(|c| u32::from_str_radix(c, 16).ok());
                        match code.and_then(char::from_u32) {
                            Some(c) => out.push(c),
                            None => return bad(self),
                        }
                    }
                    _ => return bad(self),
                },
                c => out.push(c),
            }
        }
        bad(self)
    }

    fn number<T: std::str::FromStr>(&mut self, what: &str) -> Read<T> {
        self.blank();
        self.start = self.at;
        let n = self.rest().find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '+'));
        let text = self.rest().get(..n.unwrap_or(self.rest().len())).unwrap_or_default();
        match text.parse() {
            Ok(v) => {
                self.at += text.len();
                Ok(v)
            }
            Err(_) => self.fail(format!("`{text}` is not {what}")),
        }
    }

    fn node(&mut self, known: usize) -> Read<NodeId> {
        self.sign("%")?;
        let at = self.start;
        let n: u32 = self.number("a node's number")?;
        self.start = at;
        if (n as usize) < known { Ok(NodeId(n)) } else { self.fail(format!("%{n} does not stand above this line")) }
    }

    fn scope_id(&mut self, known: usize) -> Read<ScopeId> {
        self.sign("@")?;
        let at = self.start;
        let n: u32 = self.number("a scope's number")?;
        self.start = at;
        if (n as usize) < known { Ok(ScopeId(n)) } else { self.fail(format!("there is no scope @{n} above")) }
    }

    /// Text up to one of these characters, outside of parentheses.
    fn until(&mut self, stops: &[char]) -> &'a str {
        self.blank();
        self.start = self.at;
        let rest = self.rest();
        let mut depth = 0usize;
        let end = rest.find(|c: char| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == '\n' || (depth == 0 && stops.contains(&c))
        });
        let text = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        self.at += text.len();
        text.trim_end()
    }

    fn dim(&mut self, stops: &[char]) -> Read<Dim> {
        let text = self.until(stops);
        text.parse().or_else(|e: String| self.fail(e))
    }

    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        self.sign("[")?;
        let mut out = Vec::new();
        while !self.eat("]") {
            if !out.is_empty() {
                self.sign(",")?;
            }
            out.push(item(self)?);
        }
        Ok(out)
    }

    fn dims(&mut self) -> Read<Vec<Dim>> {
        self.list(|p| p.dim(&[',', ']']))
    }

    fn dim_names(&mut self) -> Read<Vec<String>> {
        let mut names = Vec::new();
        if self.eat("(") {
            while !self.eat(")") {
                if !names.is_empty() {
                    self.sign(",")?;
                }
                names.push(self.word()?);
            }
        }
        Ok(names)
    }

    fn ty(&mut self) -> Read<TensorType> {
        let word = self.word()?;
        let Some(dtype) = DType::from_name(&word) else { return self.fail(format!("`{word}` is not a dtype")) };
        let shape = if self.peek() == Some('[') { self.dims()? } else { Vec::new() };
        Ok(TensorType::new(dtype, shape))
    }

    fn body(&mut self, graph: &mut Graph, depth: usize) -> Read<()> {
        if depth > DEEPEST {
            self.start = self.at;
            return self.fail("loops are nested too deeply");
        }
        loop {
            if self.eat("}") {
                return Ok(());
            }
            if self.peek() == Some('%') {
                self.line(graph, depth)?;
            } else if self.keyword("require") {
                self.require(graph)?;
            } else if self.keyword("scope") {
                self.scope(graph)?;
            } else if self.next_is("output") || self.next_is("write") || self.next_is("named") {
                let word = self.word()?;
                let name = self.string()?;
                self.sign("=")?;
                let id = self.node(graph.nodes.len())?;
                match word.as_str() {
                    "output" => graph.outputs.push((name, id)),
                    "write" => graph.writes.push((name, id)),
                    _ => graph.named.push((name, id)),
                }
            } else {
                let here = self.here();
                return self
                    .fail(format!("expected a node, `scope`, `require`, `output`, `write` or `named`, found {here}"));
            }
        }
    }

    fn require(&mut self, graph: &mut Graph) -> Read<()> {
        let left = self.dim(&['=', '!', '<'])?;
        let relation = if self.eat("==") {
            Relation::Eq
        } else if self.eat("!=") {
            Relation::Ne
        } else if self.eat("<=") {
            Relation::Le
        } else if self.eat("<") {
            Relation::Lt
        } else {
            let here = self.here();
            return self.fail(format!("expected `==`, `!=`, `<` or `<=`, found {here}"));
        };
        let right = self.dim(&[':'])?;
        self.sign(":")?;
        let why = self.string()?;
        graph.requires.push(Require { left, relation, right, why });
        Ok(())
    }

    fn scope(&mut self, graph: &mut Graph) -> Read<()> {
        self.sign("@")?;
        let n: usize = self.number("a scope's number")?;
        if n != graph.scopes.len() {
            return self.fail(format!("the next scope is @{}", graph.scopes.len()));
        }
        let label = self.string()?;
        let parent = if self.keyword("in") { Some(self.scope_id(n)?) } else { None };
        let place = if self.keyword("at") { self.string()? } else { String::new() };
        let instance = self.keyword("instance");
        let kernel = if self.keyword("kernel") { Some(self.string()?) } else { None };
        graph.scopes.push(Scope { parent, label: label.into(), place: place.into(), instance, kernel });
        Ok(())
    }

    fn line(&mut self, graph: &mut Graph, depth: usize) -> Read<()> {
        self.sign("%")?;
        let n: usize = self.number("a node's number")?;
        if n != graph.nodes.len() {
            return self.fail(format!("the next node is %{}", graph.nodes.len()));
        }
        if graph.scopes.is_empty() {
            let label = graph.name.as_str().into();
            graph.scopes.push(Scope { parent: None, label, place: "".into(), instance: true, kernel: None });
        }
        self.sign("=")?;
        let name = self.word()?;
        let mut name_start = self.start;
        let mut args = Vec::new();
        while self.peek() == Some('%') {
            // `%7 =` begins the next line: a node without type and scope ends where that stands.
            let at = self.at;
            let starts_line = self.eat("%") && self.number::<u32>("").is_ok() && self.peek() == Some('=');
            self.at = at;
            if starts_line {
                break;
            }
            args.push(self.node(n)?);
            if !self.eat(",") {
                break;
            }
        }
        let mut op = self.op(&name, name_start)?;
        let mut declared = if self.eat(":") { Some(self.ty()?) } else { None };
        let scope = if self.peek() == Some('@') { self.scope_id(graph.scopes.len())? } else { ScopeId(0) };
        if let Op::Loop { body, .. } = &mut op {
            self.sign("{")?;
            if self.keyword("body") {
                body.name = self.string()?;
                body.dims = self.dim_names()?;
            }
            self.body(body, depth + 1)?;
        }
        std::mem::swap(&mut self.start, &mut name_start);
        let ty = match declared.take() {
            Some(ty) => ty,
            None => {
                let types: Vec<&TensorType> = args.iter().map(|a: &NodeId| graph.ty(*a)).collect();
                let none = TensorType::new(DType::F32, Vec::new());
                infer(&op, &types, &none).or_else(|e| self.fail(e.0))?
            }
        };
        graph.nodes.push(Node { op, args: args.into(), ty, scope });
        Ok(())
    }

    /// The operation's name was read; reads its attributes.
    fn op(&mut self, name: &str, name_start: usize) -> Read<Op> {
        let unknown = |p: &mut Self| {
            p.start = name_start;
            p.fail(format!("`{name}` is not an operation"))
        };
        let kind = |suffix: &str| ReduceOp::ALL.into_iter().find(|r| r.name() == suffix);
        if let Some(op) = ScalarOp::from_name(name) {
            return Ok(Op::Map(op));
        }
        if let Some(suffix) = name.strip_prefix("reduce.") {
            let Some(op) = kind(suffix) else { return unknown(self) };
            let axes = self.attributes()?.indices(self, "axes")?;
            return Ok(Op::Reduce { op, axes });
        }
        if let Some(suffix) = name.strip_prefix("scan.") {
            return kind(suffix).map(Op::Scan).map_or_else(|| unknown(self), Ok);
        }
        Ok(match name {
            "input" => Op::Input(self.string()?),
            "weight" => Op::Weight(self.string()?),
            "state" => Op::State(self.string()?),
            "const" => Op::Const(self.number("a number")?),
            "literal" => Op::Literal(self.list(|p| p.number("a number"))?),
            "size" => match self.dims()?.as_slice() {
                [d] => Op::Size(d.clone()),
                _ => return self.fail("`size` takes one dimension in brackets"),
            },
            "draw" => {
                let site = self.string()?;
                let a = self.attributes()?;
                let lane = a.integer(self, "lane", Some(0))?;
                let Ok(lane) = u8::try_from(lane) else { return self.fail("a draw has lanes 0 to 3") };
                let sample = if a.get("sample").is_some() { Some(a.index(self, "sample", None)?) } else { None };
                Op::Draw { site, lane, sample }
            }
            "permute" => Op::Permute(self.list(|p| p.number("an axis"))?),
            "reshape" => Op::Reshape,
            "eigh" => Op::Eigh,
            "cholesky" => Op::Cholesky,
            "stop" => Op::Stop,
            _ => {
                let a = self.attributes()?;
                match name {
                    "iota" => Op::Iota { axis: a.index(self, "axis", None)? },
                    "expand" => Op::Expand { axes: a.indices(self, "axes")? },
                    "slice" => Op::Slice {
                        start: a.read(self, "start", |p| p.dims())?,
                        step: a.read(self, "step", |p| p.list(|p| p.number("an integer")))?,
                    },
                    "pad" => {
                        let lo = a.read(self, "lo", |p| p.dims())?;
                        let interior = match a.get("interior") {
                            Some(_) => a.read(self, "interior", |p| p.list(|p| p.number("an integer")))?,
                            None => vec![0; lo.len()],
                        };
                        let hi = a.read(self, "hi", |p| p.dims())?;
                        Op::Pad { lo, hi, interior, value: a.float(self, "value")? }
                    }
                    "window" => Op::Window {
                        axis: a.index(self, "axis", None)?,
                        size: a.integer(self, "size", None)?,
                        stride: a.integer(self, "stride", Some(1))?,
                        dilation: a.integer(self, "dilation", Some(1))?,
                        lo: a.integer(self, "lo", Some(0))?,
                        hi: a.integer(self, "hi", Some(0))?,
                        value: a.float(self, "value")?,
                    },
                    "concat" => Op::Concat { axis: a.index(self, "axis", None)? },
                    "dot" => Op::Dot { batch: a.pairs(self, "batch")?, contract: a.pairs(self, "contract")? },
                    "gather" => {
                        Op::Gather { axis: a.index(self, "axis", None)?, batch: a.index(self, "batch", Some(0))? }
                    }
                    "scatter_add" => {
                        Op::ScatterAdd { axis: a.index(self, "axis", None)?, batch: a.index(self, "batch", Some(0))? }
                    }
                    "argsort" => Op::ArgSort { falling: a.get("falling").is_some_and(|v| v == "true") },
                    "loop" => Op::Loop {
                        count: a.one_dim(self, "count")?,
                        carried: a.index(self, "carried", None)?,
                        every: if a.get("every").is_some() { Some(a.one_dim(self, "every")?) } else { None },
                        body: Box::default(),
                    },
                    "part" => Op::Part(a.index(self, "index", None)?),
                    _ => return unknown(self),
                }
            }
        })
    }

    /// `name=value` as often as it comes. Values are read later, by what the operation expects.
    fn attributes(&mut self) -> Read<Attributes> {
        let mut out = Vec::new();
        while self.peek().is_some_and(|c| c.is_ascii_alphabetic()) {
            // The next statement may follow without a type before it.
            if ["output", "write", "named", "scope", "require"].iter().any(|w| self.next_is(w)) {
                break;
            }
            let name = self.word()?;
            let start = self.start;
            self.sign("=")?;
            let value = if self.peek() == Some('[') {
                let text = self.until(&[']']);
                self.sign("]")?;
                format!("{text}]")
            } else {
                self.until(&[' ', ':', '@', '}', '{', '\t', '\r']).to_owned()
            };
            self.start = start;
            if out.iter().any(|(n, _)| *n == name) {
                return self.fail(format!("`{name}` is given twice"));
            }
            out.push((name, value));
        }
        Ok(Attributes(out))
    }
}

impl Attributes {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|a| a.0 == name).map(|a| a.1.as_str())
    }

    /// Reads the whole value of `name`; errors stand at the last attribute.
    fn read<T>(&self, p: &Parser, name: &str, how: impl Fn(&mut Parser) -> Read<T>) -> Read<T> {
        let Some(text) = self.get(name) else { return p.fail(format!("`{name}=` is missing")) };
        let mut inner = Parser { text, at: 0, start: 0 };
        match how(&mut inner) {
            Ok(v) if inner.peek().is_none() => Ok(v),
            Ok(_) => p.fail(format!("`{text}` is not a value of `{name}`")),
            Err(e) => p.fail(format!("`{name}`: {}", e.message)),
        }
    }

    fn integer(&self, p: &Parser, name: &str, usual: Option<i64>) -> Read<i64> {
        match (self.get(name), usual) {
            (None, Some(v)) => Ok(v),
            _ => self.read(p, name, |p| p.number("an integer")),
        }
    }

    fn index(&self, p: &Parser, name: &str, usual: Option<usize>) -> Read<usize> {
        match (self.get(name), usual) {
            (None, Some(v)) => Ok(v),
            _ => self.read(p, name, |p| p.number("a number from 0 on")),
        }
    }

    fn indices(&self, p: &Parser, name: &str) -> Read<Vec<usize>> {
        self.read(p, name, |p| p.list(|p| p.number("a number from 0 on")))
    }

    fn float(&self, p: &Parser, name: &str) -> Read<f64> {
        if self.get(name).is_none() { Ok(0.0) } else { self.read(p, name, |p| p.number("a number")) }
    }

    fn one_dim(&self, p: &Parser, name: &str) -> Read<Dim> {
        self.read(p, name, |p| {
            p.sign("[")?;
            let d = p.dim(&[']'])?;
            p.sign("]").map(|()| d)
        })
    }

    fn pairs(&self, p: &Parser, name: &str) -> Read<Vec<(usize, usize)>> {
        if self.get(name).is_none() {
            return Ok(Vec::new());
        }
        let pair = |p: &mut Parser| {
            p.sign("(")?;
            let a = p.number("an axis")?;
            p.sign(",")?;
            let b = p.number("an axis")?;
            p.sign(")").map(|()| (a, b))
        };
        self.read(p, name, |p| p.list(pair))
    }
}
