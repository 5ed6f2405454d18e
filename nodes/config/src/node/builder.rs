//! Builds the tree from the parser's events, within limits, with aliases and merge keys resolved.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::{Document, Fault, Kind, MAX_DEPTH, Node};
use crate::mistake::Origin;

/// A generous configuration has some ten thousand bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Values in all, each copy made by an anchor or alias counted: bounds what a few nested aliases can grow into.
const MAX_VALUES: usize = 100_000;
/// The key that pulls the entries of other maps into this one.
const MERGE: &str = "<<";

/// Reads the first document of `text`; `origin` turns a line into the place that messages name.
pub(crate) fn parse(text: &str, origin: &dyn Fn(usize) -> Origin) -> Result<Document, Fault> {
    if text.len() > MAX_BYTES {
        return Err(Fault::new(
            1,
            format!("the text is longer than {MAX_BYTES} bytes"),
        ));
    }
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::new(origin);
    while let Some(event) = parser.next_event() {
        let (event, span) = event?;
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            break;
        }
        builder.accept(event, span.start.line())?;
    }
    let ignored_from = second_document(&mut parser)?;
    let root = builder.root.unwrap_or_else(|| Node::null(origin(1)));
    Ok(Document { root, ignored_from })
}

/// Where a second document with anything in it starts: `---` alone at the end of a file is common and harmless.
fn second_document(events: &mut Parser<'_, StrInput<'_>>) -> Result<Option<usize>, Fault> {
    for event in events {
        let (event, span) = event?;
        match event {
            Event::DocumentStart(_) => {}
            Event::Scalar(text, style, ..) if is_null(&text, style, None) => return Ok(None),
            Event::StreamEnd => return Ok(None),
            _ => return Ok(Some(span.start.line())),
        }
    }
    Ok(None)
}

/// A map or list whose end has not come yet.
struct Frame {
    open: Open,
    anchor: usize,
    line: usize,
}

enum Open {
    Seq(Vec<Node>),
    Map {
        entries: Vec<(String, Node)>,
        /// The line of each key, to tell of repetitions.
        seen: HashMap<String, usize>,
        merges: Vec<Node>,
        /// The key whose value comes next.
        key: Option<(String, usize)>,
    },
}

struct Builder<'o> {
    origin: &'o dyn Fn(usize) -> Origin,
    stack: Vec<Frame>,
    /// Finished values by anchor: one that is still open is not here, so no value can hold itself.
    anchors: HashMap<usize, Node>,
    values: usize,
    root: Option<Node>,
}

impl<'o> Builder<'o> {
    fn new(origin: &'o dyn Fn(usize) -> Origin) -> Self {
        Self {
            origin,
            stack: Vec::new(),
            anchors: HashMap::new(),
            values: 0,
            root: None,
        }
    }

    fn accept(&mut self, event: Event<'_>, line: usize) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let kind = scalar(&text, style, tag.as_deref(), line)?;
                self.finish(kind, anchor, line)
            }
            Event::Alias(anchor) => self.alias(anchor, line),
            Event::SequenceStart(anchor, _) => self.open(Open::Seq(Vec::new()), anchor, line),
            Event::MappingStart(anchor, _) => self.open(Open::map(), anchor, line),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn open(&mut self, open: Open, anchor: usize, line: usize) -> Result<(), Fault> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(too_deep(line));
        }
        self.stack.push(Frame { open, anchor, line });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(Frame { open, anchor, line }) = self.stack.pop() else {
            return Ok(());
        };
        let kind = match open {
            Open::Seq(items) => Kind::Seq(items),
            Open::Map {
                entries,
                seen,
                merges,
                key: _,
            } => Kind::Map(merged(entries, seen, merges, line)?),
        };
        self.finish(kind, anchor, line)
    }

    fn alias(&mut self, anchor: usize, line: usize) -> Result<(), Fault> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(Fault::new(
                line,
                "this alias stands inside the value it names",
            ));
        };
        let (count, depth) = (node.count(), node.depth());
        let kind = node.kind.clone();
        if self.stack.len() + depth > MAX_DEPTH {
            return Err(too_deep(line));
        }
        self.charge(count, line)?;
        self.finish(kind, 0, line)
    }

    /// Puts a finished value where it belongs: the map or list that is open, or the root.
    fn finish(&mut self, kind: Kind, anchor: usize, line: usize) -> Result<(), Fault> {
        self.charge(1, line)?;
        let node = Node {
            kind,
            origin: (self.origin)(line),
        };
        if anchor > 0 {
            self.charge(node.count(), line)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(frame) => frame.open.add(node, line, self.origin)?,
        }
        Ok(())
    }

    fn charge(&mut self, values: usize, line: usize) -> Result<(), Fault> {
        self.values = self.values.saturating_add(values);
        if self.values > MAX_VALUES {
            return Err(Fault::new(
                line,
                format!("there are more than {MAX_VALUES} values, those behind aliases counted"),
            ));
        }
        Ok(())
    }
}

impl Open {
    fn map() -> Self {
        Self::Map {
            entries: Vec::new(),
            seen: HashMap::new(),
            merges: Vec::new(),
            key: None,
        }
    }

    fn add(
        &mut self,
        mut node: Node,
        line: usize,
        origin: &dyn Fn(usize) -> Origin,
    ) -> Result<(), Fault> {
        match self {
            Self::Seq(items) => items.push(node),
            Self::Map {
                entries,
                seen,
                merges,
                key,
            } => match key.take() {
                None => *key = Some((key_text(&node, line)?, line)),
                Some((name, _)) if name == MERGE => merges.push(node),
                Some((name, key_line)) => {
                    if let Some(first) = seen.insert(name.clone(), key_line) {
                        return Err(Fault::new(
                            key_line,
                            format!("the key {name} stands twice, first on line {first}"),
                        ));
                    }
                    node.origin = origin(key_line);
                    entries.push((name, node));
                }
            },
        }
        Ok(())
    }
}

/// The map with what its merge keys pull in: its own entries win, then the earlier merge.
fn merged(
    mut entries: Vec<(String, Node)>,
    mut seen: HashMap<String, usize>,
    merges: Vec<Node>,
    line: usize,
) -> Result<Vec<(String, Node)>, Fault> {
    let sources = merges.into_iter().flat_map(|merge| match merge.kind {
        Kind::Seq(items) => items,
        Kind::Map(_) | Kind::Scalar(_) | Kind::Null => vec![merge],
    });
    for source in sources {
        let Kind::Map(added) = source.kind else {
            return Err(Fault::new(
                line,
                "a merge key takes a map or a list of maps",
            ));
        };
        for (key, value) in added {
            if !seen.contains_key(&key) {
                seen.insert(key.clone(), line);
                entries.push((key, value));
            }
        }
    }
    Ok(entries)
}

fn key_text(node: &Node, line: usize) -> Result<String, Fault> {
    match &node.kind {
        Kind::Scalar(text) => Ok(text.clone()),
        Kind::Null => Ok("null".to_owned()),
        Kind::Map(_) | Kind::Seq(_) => Err(Fault::new(line, "a key must be a single value")),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<Kind, Fault> {
    if tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "binary") {
        return Err(Fault::new(line, "binary values are not supported"));
    }
    if is_null(text, style, tag) {
        return Ok(Kind::Null);
    }
    Ok(Kind::Scalar(text.to_owned()))
}

/// YAML 1.1's null: only without quotes, and not when tagged as a string.
fn is_null(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> bool {
    let tagged_as_string = tag.is_some_and(|tag| tag.suffix != "null");
    style == ScalarStyle::Plain
        && !tagged_as_string
        && matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn too_deep(line: usize) -> Fault {
    Fault::new(line, format!("values are nested deeper than {MAX_DEPTH}"))
}

impl Fault {
    fn new(line: usize, reason: impl Into<String>) -> Self {
        Self {
            line,
            reason: reason.into(),
        }
    }
}

impl From<ScanError> for Fault {
    fn from(error: ScanError) -> Self {
        Self::new(error.marker().line(), error.info())
    }
}
