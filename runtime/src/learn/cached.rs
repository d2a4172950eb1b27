//! Features of a stage's samples: found on disk or computed once.
//!
//! In: a stage under way. Out: its features, or that it computes them anew in every pass. Invariants: a disk that is full costs time,
//! not the run; what is computed goes to disk batch by batch. Imports: features, sessions, stages.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::Ordering;

use uad_plan::{BufferKind, Plan, Port};

use super::features::{Column, Features, Key};
use super::feed::{self, Batch};
use super::run::Session;
use super::stage::{Loaded, Runner, take};
use super::{Event, Run, Trouble};
use crate::data::load::Loader;

/// What computing came to.
enum Computed {
    Kept(Features),
    Stopped,
    NotKept(io::Error),
}

impl Runner<'_> {
    /// Puts what does not change on disk, or finds it there; false where the run was stopped meanwhile.
    pub(super) fn cache(&mut self, session: &mut Session<'_, '_>) -> Run<bool> {
        let Some(entry) = self.stage.features.clone() else { return Ok(true) };
        if feed::reads_peers(self.entry(&entry)?, &self.job.samples) {
            // Another peer in every epoch: they change.
            return Ok(true);
        }
        let other = self.stage.keep.as_ref().map(|k| k.on).filter(|on| *on != self.stage.data);
        for split in [Some(self.stage.data), other].into_iter().flatten() {
            let list = if split == self.stage.data { self.data.clone() } else { self.watched.clone() };
            let path = self.key(&entry, &list)?.path(&self.job.folder);
            if let Some(found) = Features::open(&path) {
                session.tell(Event::Cached { bytes: found.bytes(), found: true });
                self.features.push((split, found));
                continue;
            }
            match self.compute(&entry, &list, &path, session)? {
                Computed::Kept(made) => {
                    session.tell(Event::Cached { bytes: made.bytes(), found: false });
                    self.features.push((split, made));
                }
                Computed::Stopped => return Ok(false),
                Computed::NotKept(e) => {
                    let path = path.display();
                    let text = format!("{path}: {e}; features are not kept, so every pass computes them again");
                    session.tell(Event::Warning(text));
                }
            }
        }
        Ok(true)
    }

    /// All that the content of a features file depends on.
    fn key(&self, entry: &str, list: &[usize]) -> Run<Key> {
        let mut key = Key::default();
        key.add(self.job.device.kind().as_bytes());
        let found = self.entry(entry)?;
        let alone = Plan { name: String::new(), stored: Vec::new(), entries: vec![found.clone()] };
        key.add(alone.to_string().as_bytes());
        for b in found.buffers.iter().filter(|b| b.kind == BufferKind::Stored) {
            key.add(b.name.as_bytes());
            key.add(&self.store.bytes(&b.name)?.unwrap_or_default());
        }
        key.add(format!("{:?} {}", self.job.samples.takes(), self.stage.batch).as_bytes());
        for n in list {
            key.add(self.job.digests.get(n).map_or("", String::as_str).as_bytes());
        }
        Ok(key)
    }

    /// Rows of a batch, with what they are made of.
    fn rows(&mut self, entry: &str, rows: &[usize], loader: &mut Loader<Loaded>) -> Run<(Vec<Column>, Vec<u8>)> {
        let values = take(loader, rows.len())?;
        let executor = self.call_plain(entry, &Batch { rows, values: &values })?;
        let each = |p: &Port| {
            let all = executor.output_bytes(&p.name).unwrap_or_default();
            (Column { name: p.name.clone(), bytes: all.len() / rows.len().max(1) }, all)
        };
        let parts: Vec<(Column, &[u8])> = executor.bound().outputs.iter().map(each).collect();
        let mut bytes = Vec::with_capacity(parts.iter().map(|p| p.1.len()).sum());
        for row in 0..rows.len() {
            for (c, all) in &parts {
                bytes.extend_from_slice(all.get(row * c.bytes..(row + 1) * c.bytes).unwrap_or_default());
            }
        }
        Ok((parts.into_iter().map(|p| p.0).collect(), bytes))
    }

    fn compute(&mut self, entry: &str, list: &[usize], path: &Path, session: &mut Session<'_, '_>) -> Run<Computed> {
        let (samples, batch) = (self.job.samples.clone(), self.stage.batch.max(1));
        let order = Vec::from(list).into_iter();
        let mut loader = Loader::new(order, self.job.loaders, 2 * batch + 2, move |n| samples.get(n));
        let (first, rest) = list.split_at(batch.min(list.len()));
        // The first batch tells the sizes of rows.
        let (columns, head) = self.rows(entry, first, &mut loader)?;
        let (mut trouble, mut stopped, mut done) = (None, false, first.len());
        session.tell(Event::Features { done, of: list.len() });
        let written = Features::write(path, &columns, list.len(), |to: &mut dyn Write| {
            to.write_all(&head)?;
            for rows in rest.chunks(batch) {
                stopped = self.job.stop.load(Ordering::Relaxed);
                let made = if stopped { None } else { Some(self.rows(entry, rows, &mut loader)) };
                match made {
                    Some(Ok((_, bytes))) => to.write_all(&bytes)?,
                    Some(Err(t)) => trouble = Some(t),
                    None => {}
                }
                if stopped || trouble.is_some() {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                done += rows.len();
                session.tell(Event::Features { done, of: list.len() });
            }
            Ok(())
        });
        match (written, trouble) {
            (_, Some(t)) => Err(t),
            (Err(_), None) if stopped => Ok(Computed::Stopped),
            (Err(e), None) => Ok(Computed::NotKept(e)),
            (Ok(()), None) => {
                let gone = || Trouble::input(format!("{}: cannot be read back", path.display()));
                Features::open(path).map(Computed::Kept).ok_or_else(gone)
            }
        }
    }
}
