//! What comes with the compiler beside the library's modules: names files of public weights, and specs to start from.
//!
//! In: nothing. Out: texts by name. Invariants: every names file of `stdlib/names` and every spec of `specs` has a row (a test
//! compares). Imports: nothing of this project.

macro_rules! texts {
    ($(#[$doc:meta])* $table:ident, $folder:literal, $end:literal: $($name:literal)*) => {
        $(#[$doc])*
        pub const $table: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../", $folder, "/", $name, $end)))),*];
    };
}

texts! {
    /// Names files: name and text.
    NAMES, "stdlib/names", ".toml":
    "dino_s8.meta"
    "efficientnet_b0.lukemelas"
    "efficientnet_b4.lukemelas"
    "mobilenet_v2.folded"
    "mobilenet_v2.torchvision"
    "resnet18.folded"
    "resnet18.torchvision"
    "resnet34.torchvision"
    "resnet50.torchvision"
    "resnet50_v2.gluon"
    "squeezenet1_1.gluon"
    "squeezenet1_1.torchvision"
    "surface_net.uad"
    "vit_b16.timm"
    "vit_s16.timm"
    "vit_ti16.timm"
    "wide_resnet50.torchvision"
}

texts! {
    /// Specs: name and text.
    SPECS, "specs", ".uad":
    "ablations"
    "boards"
    "btf"
    "dinomaly"
    "draem"
    "efficientad"
    "encoders"
    "fader"
    "first"
    "glass"
    "hetnet"
    "mmae_ecg"
    "onenip"
    "padim"
    "patchcore"
    "pbas"
    "pnas3d"
    "pradot"
    "rd4ad"
    "refined"
    "simplenet"
    "small"
    "stfpm"
    "surfaces"
    "tiny"
    "uniad"
    "whitened"
}

/// Weights that come with the compiler: the name of the map that reads them, and a bundle as a recipe of `specs` made it.
pub const WEIGHTS: &[(&str, &[u8])] = &[("surface_net.uad", include_bytes!("../../stdlib/weights/surface_net.uadx"))];

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_file_has_a_row() {
        for (table, folder, end) in [(NAMES, "stdlib/names", ".toml"), (SPECS, "specs", ".uad")] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
            let mut found: Vec<String> = std::fs::read_dir(path)
                .unwrap()
                .filter_map(|e| Some(e.unwrap().file_name().to_string_lossy().strip_suffix(end)?.to_owned()))
                .collect();
            found.sort();
            assert_eq!(found, table.iter().map(|t| t.0).collect::<Vec<_>>(), "{folder}");
        }
    }
}
