//! What a stage watches on samples that it does not learn from: `keep: lowest(loss, on: validation)`.
//!
//! In: a stage that has been read. Out: its entry `STAGE.watch` with the value as its one output. Invariants: steps of training
//! are left out as they are in a score, so that noise does not blur what is compared; nothing is written.
//! Imports: stages, settings.

use uad_grammar::ast::{StagePart, StmtKind};

use crate::diag::Diagnostic;

use super::settings::Set;
use super::train::Functions;
use super::value::FieldValue;
use super::{Ev, StageInfo};

impl<'a> Ev<'a> {
    /// The entry of the stage that was read last, if it watches other samples than its own.
    pub(super) fn watch_entry(&mut self, path: &str, name: &'a str, parts: &'a [StagePart]) {
        let Some(info) = self.stages.last() else { return };
        let settings = info.settings();
        let Some(keep) = settings.keep.filter(|k| k.on != settings.data) else { return };
        let (full, place) = (format!("{}.watch", info.name), info.place);
        if self.errors > 0 {
            return;
        }
        let Some((part, frame)) = self.stage_frame(&full, path, None) else { return };
        for p in parts {
            if let StagePart::Stmt(s) = p
                && !matches!(s.kind, StmtKind::Become { .. })
            {
                let _ = self.statement(s, &frame);
            }
        }
        let written = parts.iter().find_map(|p| match p {
            StagePart::Setting { name, value, .. } if name.text == "keep" => {
                let value = FieldValue::Written(value, part.module);
                Some(Set { name: &name.text, place: self.at(part.module, name.span), value })
            }
            _ => None,
        });
        let outside = self.set_outside(&part, path, name).into_iter().find(|s| s.name == "keep");
        let Some(set) = outside.or(written) else { return };
        let mut alone = StageInfo { settings: Vec::new(), ..self.stages[self.stages.len() - 1].clone() };
        let _ = self.setting(set, &frame, &mut alone, &mut Functions::default());
        if let Some((_, _, at)) = self.collected.first().cloned() {
            let text = format!("`{}` needs all samples, and is watched batch by batch", keep.value);
            self.err(Diagnostic::new("E0410", text, at, "made of all").label(place, "of this stage"));
        }
        let mut g = std::mem::take(&mut self.levels[0].graph);
        let places = std::mem::take(&mut self.levels[0].places);
        g.writes.clear();
        g.outputs.retain(|o| o.0 == keep.value);
        let g = self.pruned(g, &places);
        // The step need not compute it.
        if let Some(step) = self.graphs.iter_mut().rev().find(|s| full.strip_suffix(".watch") == Some(s.name.as_str()))
        {
            step.outputs.retain(|o| o.0 != keep.value || o.0 == "loss");
        }
        if let Some(info) = self.stages.last_mut() {
            info.watch = Some(full);
        }
        self.graphs.push(g);
    }
}
