//! Names files: how another implementation's configuration, tensors and outputs map to a detector's (language.md section 10).
//!
//! In: TOML text; our paths and shapes, foreign names and shapes. Out: [`Names`], and for every one of our tensors a
//! [`formula::Formula`] over foreign ones. Invariants: pure, no files; every weight of ours and every foreign tensor is covered or
//! ignored by name, else it is an error with a near miss. Imports: `diag::nearest`, the host tensor of `uad-plan`.

pub mod cover;
pub mod formula;
pub mod pattern;
pub mod view;

use std::collections::BTreeMap;

use toml::{Table, Value};

use formula::Source;
use pattern::Pattern;
use view::View;

/// A names file.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Left sides of the weights are relative to this instance.
    pub root: Option<String>,
    /// Another names file, beside this one, whose configuration and weights count too.
    pub like: Option<String>,
    /// The entry whose values are compared, if not `score`.
    pub entry: Option<String>,
    /// Foreign names without a counterpart.
    pub ignore: Vec<Pattern>,
    /// Foreign configuration to parameters.
    pub config: Vec<ConfigRule>,
    /// Foreign tensors to inputs, or to `let`s that are then fed.
    pub inputs: Vec<InputRule>,
    /// Our weights and states to foreign formulas; the first match wins.
    pub weights: Vec<WeightRule>,
    /// Our values to foreign outputs.
    pub outputs: Vec<OutputRule>,
    /// Our values of which the loss of the foreign gradients is made.
    pub gradients: Vec<(String, LossRule)>,
    /// How foreign training steps are repeated.
    pub train: Option<TrainRule>,
}

/// `[train]`: what a foreign `train_steps` is compared with.
#[derive(Clone, Debug)]
pub struct TrainRule {
    /// Our stage.
    pub stage: String,
    /// The foreign losses, one before every step.
    pub loss: String,
    /// Parameters that the steps are made with.
    pub set: BTreeMap<String, String>,
    /// Paths of ours that are not compared: of no gradient but rounding, which Adam makes whole steps of.
    pub ignore: Vec<Pattern>,
}

/// One line of `[gradients]`: what a value of ours adds to the loss.
#[derive(Clone, Debug, PartialEq)]
pub enum LossRule {
    /// The sum of its elements, each times one of this foreign tensor.
    Weighed(String),
    /// The sum of its elements times a number.
    Times(f64),
    /// The mean of the squared differences to another value of ours.
    MeanSquareTo(String),
}

/// One line of `[config]`.
#[derive(Clone, Debug)]
pub struct ConfigRule {
    /// Dotted key of the foreign configuration.
    pub foreign: String,
    /// Our parameter or slot.
    pub param: String,
    /// Foreign value to the text of ours; where empty, the foreign value itself.
    pub values: BTreeMap<String, String>,
    /// Our text where the foreign value is null; none leaves the default.
    pub null: Option<String>,
}

/// One line of `[inputs]`.
#[derive(Clone, Debug)]
pub struct InputRule {
    /// Foreign tensor.
    pub foreign: String,
    /// Our input, or the path of a `let`.
    pub to: String,
    /// From foreign axes to ours.
    pub view: Option<View>,
}

/// One line of `[weights]`.
#[derive(Clone, Debug)]
pub struct WeightRule {
    /// Our path.
    pub ours: Pattern,
    /// Where its values come from.
    pub source: Source,
}

/// One line of `[outputs]`.
#[derive(Clone, Debug)]
pub struct OutputRule {
    /// Our output, or the path of a `let`.
    pub ours: Pattern,
    /// Foreign tensor; placeholders of ours may stand in it.
    pub foreign: String,
    /// From foreign axes to ours.
    pub view: Option<View>,
    /// Its own tolerance.
    pub tol: Option<f64>,
}

impl Names {
    /// The entry whose values are compared.
    pub fn entry(&self) -> &str {
        self.entry.as_deref().unwrap_or("score")
    }

    /// Reads a names file; all its errors, each with the key it is about.
    pub fn parse(text: &str) -> Result<Names, Vec<String>> {
        let table: Table = text.parse().map_err(|e: toml::de::Error| vec![e.to_string().trim_end().to_owned()])?;
        let mut names = Names::default();
        let mut errors = Vec::new();
        for (key, value) in &table {
            let read = match (key.as_str(), value) {
                ("root", Value::String(s)) => {
                    names.root = Some(s.clone());
                    Ok(())
                }
                ("like", Value::String(s)) => {
                    names.like = Some(s.clone());
                    Ok(())
                }
                ("entry", Value::String(s)) => {
                    names.entry = Some(s.clone());
                    Ok(())
                }
                ("ignore", Value::Array(list)) => names.ignore(list),
                ("config", Value::Table(t)) => {
                    errors.extend(rules(t, &mut names.config, config_rule));
                    Ok(())
                }
                ("inputs", Value::Table(t)) => {
                    errors.extend(rules(t, &mut names.inputs, input_rule));
                    Ok(())
                }
                ("weights", Value::Table(t)) => {
                    errors.extend(rules(t, &mut names.weights, weight_rule));
                    Ok(())
                }
                ("outputs", Value::Table(t)) => {
                    errors.extend(rules(t, &mut names.outputs, output_rule));
                    Ok(())
                }
                ("train", Value::Table(t)) => train_rule(t).map(|r| names.train = Some(r)),
                ("gradients", Value::Table(t)) => {
                    errors.extend(rules(t, &mut names.gradients, loss_rule));
                    Ok(())
                }
                _ => Err("expected `root`, `like`, `entry`, `ignore`, [config], [inputs], [weights], [outputs], [gradients] or [train]"
                    .to_owned()),
            };
            errors.extend(read.err().map(|e| format!("`{key}`: {e}")));
        }
        if errors.is_empty() { Ok(names) } else { Err(errors) }
    }

    fn ignore(&mut self, list: &[Value]) -> Result<(), String> {
        for item in list {
            let text = item.as_str().ok_or("a list of names in quotes")?;
            self.ignore.push(Pattern::parse(text)?);
        }
        Ok(())
    }

    /// Is this foreign name listed in `ignore`?
    pub fn ignores(&self, foreign: &str) -> bool {
        self.ignore.iter().any(|p| p.matches(foreign).is_some())
    }
}

/// Reads every line of a table, in order; what is wrong comes back.
fn rules<T>(table: &Table, into: &mut Vec<T>, read: fn(&str, &Value) -> Result<T, String>) -> Vec<String> {
    let mut errors = Vec::new();
    for (key, value) in table {
        match read(key, value) {
            Ok(rule) => into.push(rule),
            Err(e) => errors.push(format!("`{key}`: {e}")),
        }
    }
    errors
}

fn text<'a>(table: &'a Table, key: &str) -> Result<&'a str, String> {
    table.get(key).and_then(Value::as_str).ok_or_else(|| format!("`{key} = \"...\"` is missing"))
}

fn known(table: &Table, keys: &[&str]) -> Result<(), String> {
    match table.keys().find(|k| !keys.contains(&k.as_str())) {
        Some(k) => Err(format!("unknown key `{k}`; known are {}", keys.join(", "))),
        None => Ok(()),
    }
}

fn train_rule(table: &Table) -> Result<TrainRule, String> {
    known(table, &["stage", "loss", "set", "ignore"])?;
    let mut set = BTreeMap::new();
    for (name, value) in table.get("set").and_then(Value::as_table).into_iter().flatten() {
        set.insert(name.clone(), value.as_str().ok_or("`set` is a table of texts")?.to_owned());
    }
    let mut ignore = Vec::new();
    for item in table.get("ignore").and_then(Value::as_array).into_iter().flatten() {
        ignore.push(Pattern::parse(item.as_str().ok_or("`ignore` is a list of names in quotes")?)?);
    }
    Ok(TrainRule { stage: text(table, "stage")?.to_owned(), loss: text(table, "loss")?.to_owned(), set, ignore })
}

fn config_rule(key: &str, value: &Value) -> Result<ConfigRule, String> {
    let plain = |param: &str| ConfigRule {
        foreign: key.to_owned(),
        param: param.to_owned(),
        values: BTreeMap::new(),
        null: None,
    };
    match value {
        Value::String(param) => Ok(plain(param)),
        Value::Table(t) => {
            known(t, &["param", "values", "null"])?;
            let mut rule = plain(text(t, "param")?);
            rule.null = t.get("null").and_then(Value::as_str).map(str::to_owned);
            for (from, to) in t.get("values").and_then(Value::as_table).into_iter().flatten() {
                let to = to.as_str().ok_or("values are texts, as after --set")?;
                rule.values.insert(from.clone(), to.to_owned());
            }
            Ok(rule)
        }
        _ => Err("expected a parameter's name, or { param, values, null }".to_owned()),
    }
}

fn view(table: &Table) -> Result<Option<View>, String> {
    table.get("view").map(|v| View::parse(v.as_str().ok_or("`view` is a text")?)).transpose()
}

fn input_rule(key: &str, value: &Value) -> Result<InputRule, String> {
    let foreign = key.to_owned();
    match value {
        Value::String(to) => Ok(InputRule { foreign, to: to.clone(), view: None }),
        Value::Table(t) => {
            known(t, &["to", "view"])?;
            Ok(InputRule { foreign, to: text(t, "to")?.to_owned(), view: view(t)? })
        }
        _ => Err("expected the name of an input or `let`, or { to, view }".to_owned()),
    }
}

fn weight_rule(key: &str, value: &Value) -> Result<WeightRule, String> {
    let source = match value {
        Value::String(formula) => Source::parse(formula)?,
        Value::Float(v) => Source::Constant(*v),
        Value::Integer(v) => Source::Constant(*v as f64),
        _ => return Err("expected a foreign tensor in quotes, or a number".to_owned()),
    };
    Ok(WeightRule { ours: Pattern::parse(key)?, source })
}

fn output_rule(key: &str, value: &Value) -> Result<OutputRule, String> {
    let ours = Pattern::parse(key)?;
    match value {
        Value::String(foreign) => Ok(OutputRule { ours, foreign: foreign.clone(), view: None, tol: None }),
        Value::Table(t) => {
            known(t, &["name", "view", "tol"])?;
            let tol = t.get("tol").map(|v| v.as_float().ok_or("`tol` is a number with a point")).transpose()?;
            Ok(OutputRule { ours, foreign: text(t, "name")?.to_owned(), view: view(t)?, tol })
        }
        _ => Err("expected a foreign tensor in quotes, or { name, view, tol }".to_owned()),
    }
}

fn loss_rule(key: &str, value: &Value) -> Result<(String, LossRule), String> {
    let rule = match value {
        Value::String(foreign) => LossRule::Weighed(foreign.clone()),
        Value::Float(v) => LossRule::Times(*v),
        Value::Integer(v) => LossRule::Times(*v as f64),
        Value::Table(t) => {
            known(t, &["mean_square_to"])?;
            LossRule::MeanSquareTo(text(t, "mean_square_to")?.to_owned())
        }
        _ => return Err("expected a foreign tensor in quotes, a number, or { mean_square_to }".to_owned()),
    };
    Ok((key.to_owned(), rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind_of_line() {
        let names = Names::parse(
            r#"
            root = "encoder"
            ignore = ["fc.*"]
            [config]
            "a.0" = "size"
            "act" = { param = "act", values = { relu = "relu" }, null = "none" }
            [inputs]
            "x" = { to = "target", view = "(h w) b c -> b c h w" }
            [weights]
            "encode.{i}.w" = "layers.{i+1}.weight[0:hidden].T"
            "mean" = 0.0
            [outputs]
            "recon" = { name = "rec", tol = 1e-4 }
            [gradients]
            "recon" = { mean_square_to = "target" }
            "y" = "dy"
            "#,
        )
        .unwrap();
        assert_eq!(names.config[1].null.as_deref(), Some("none"));
        assert!(names.ignores("fc.weight") && !names.ignores("conv1.weight"));
        assert_eq!(names.outputs[0].tol, Some(1e-4));
        assert_eq!(names.gradients[1], ("y".to_owned(), LossRule::Weighed("dy".to_owned())));
        // The first match wins, so the order of the file is kept.
        assert_eq!(names.weights[0].ours.text(), "encode.{i}.w");
    }

    #[test]
    fn reports_all_errors() {
        let errors = Names::parse("colour = 1\n[inputs]\nx = 3\n[weights]\n\"a\" = \"b[0\"\n").unwrap_err();
        assert_eq!(errors.len(), 3, "{errors:?}");
    }
}
