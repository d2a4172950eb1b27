//! The catalogue of diagnostics: one row and one page per code.
//!
//! In: nothing. Out: [`CODES`]. Invariants: codes rise; each page holds an example that raises exactly its code and a
//! fix that compiles (a test runs both). Imports: nothing of this project.

/// A row of the catalogue.
pub struct Code {
    /// `E0203`.
    pub code: &'static str,
    /// What it is about, a few words.
    pub title: &'static str,
    /// The page in Markdown; code blocks tagged `uad fails` and `uad` are run by tests.
    pub page: &'static str,
}

/// The row of a code.
pub fn find(code: &str) -> Option<&'static Code> {
    CODES.iter().find(|c| c.code.eq_ignore_ascii_case(code))
}

macro_rules! codes {
    ($($code:literal $title:literal)*) => {
        /// All codes, rising.
        pub const CODES: &[Code] = &[$(Code { code: $code, title: $title, page: include_str!(concat!("pages/", $code, ".md")) }),*];
    };
}

codes! {
    "E0001" "the text does not parse"
    "E0101" "unknown name"
    "E0102" "unknown module or import"
    "E0103" "modules import each other in a circle"
    "E0104" "a name is declared twice"
    "E0105" "a variant names what is not there"
    "E0106" "unknown detector"
    "E0107" "unknown type"
    "E0201" "another kind of value is expected"
    "E0202" "element types differ"
    "E0203" "dimensions differ"
    "E0204" "wrong number of axes"
    "E0205" "units differ"
    "E0206" "arguments do not fit"
    "E0207" "this cannot be called"
    "E0208" "a view does not fit its value"
    "E0209" "an index or axis is out of range"
    "E0210" "a value must be known while compiling"
    "E0211" "a stored tensor needs a known shape"
    "E0212" "a requirement fails"
    "E0213" "a body gives no value"
    "E0214" "an operation does not take these values"
    "E0215" "too large"
    "E0301" "two instances of one name"
    "E0302" "a function owns nothing"
    "E0401" "a random draw reaches a score"
    "E0402" "a score depends on other samples of its batch"
    "E0403" "a label reaches a stage"
    "E0404" "no stage trains a weight"
    "E0405" "two groups train one weight"
    "E0406" "a state is read before a stage has written it"
    "E0407" "a step of training changes the type"
    "E0408" "a softmax row is empty"
    "E0409" "no gradient passes a loop with `until`"
    "E0410" "only in a stage"
    "E0411" "only a state or a carried name can become"
    "E0412" "a detector without a score"
    "E0413" "unknown or wrong setting"
    "E0414" "no gradient leads there"
    "E0601" "the description does not end"
    "E0701" "not executable yet"
    "W0501" "never used"
    "W0502" "a draw depends on the batch size"
}
