"""Columns of tables of images and of spectra."""

from __future__ import annotations

from astro_cluster.columns.spec import RATIO, ColumnSpec

__all__ = ["PIXELS"]

PIXELS: dict[str, ColumnSpec] = {
    # Images
    "member": ColumnSpec("member", "meta.id.part;meta.file", "Name of the image in the archive source_file"),
    "image_identifier": ColumnSpec("identifier", "meta.id", "From the names of the files by {pattern}"),
    "image_header": ColumnSpec("header", "meta.note", "Key {word} of the headers of the images"),
    "original_height": ColumnSpec(
        "original_height", "meta.number;instr.pixel", "Height of the image in its file, in pixels"
    ),
    "original_width": ColumnSpec(
        "original_width", "meta.number;instr.pixel", "Width of the image in its file, in pixels"
    ),
    "image_bad": ColumnSpec("image_bad", "meta.code.qual", "Whether the image could not be read"),
    "image": ColumnSpec("image", "phot.flux;instr.pixel", "Pixels of the image, {how}"),
    # Quality of images
    "zero_fraction": ColumnSpec(
        "zero_fraction", RATIO, "Share of the pixels of the image that are exactly 0", form=".4f"
    ),
    "nan_fraction": ColumnSpec(
        "nan_fraction", RATIO, "Share of the pixels of the image that are not finite", form=".4f"
    ),
    "saturated_fraction": ColumnSpec(
        "saturated_fraction", RATIO, "Share of the pixels of the image that are saturated", form=".4f"
    ),
    "edge_asymmetry": ColumnSpec(
        "edge_asymmetry",
        "stat.param",
        "Whether a part of the border is rougher than the part opposite: 1 where an edge cuts the image",
        form=".4f",
    ),
    "peak_offset": ColumnSpec(
        "peak_offset",
        "stat.param",
        "Distance of the brightest place from the middle over half the smaller side",
        form=".4f",
    ),
    "spike_power": ColumnSpec(
        "spike_power",
        "stat.param",
        "Share of the azimuthal power that is 4-, 6- or 8-fold at the same angles at all radii",
        form=".4f",
    ),
    "concentration": ColumnSpec(
        "concentration", "src.morph.param", "5 log10(r80 / r20) around the middle of the image", form=".4f"
    ),
    "flat_fraction": ColumnSpec(
        "flat_fraction", RATIO, "Share of the pixels that are equal to all eight around them", form=".4f"
    ),
    "image_partial": ColumnSpec(
        "image_partial", "meta.code.qual", "Whether a part of the stamp lies outside of {image}"
    ),
    "image_coverage": ColumnSpec(
        "image_coverage", RATIO, "Share of the pixels of the stamp that {image} has", form=".4f"
    ),
    "n_sources": ColumnSpec("n_sources", "meta.number;src", "Sources detected in the image"),
    "neighbour_distance": ColumnSpec(
        "neighbour_distance",
        "pos.angDistance;instr.pixel",
        "Distance of the brightest other source from the one in the middle",
        "pix",
        form=".2f",
    ),
    "neighbour_ratio": ColumnSpec(
        "neighbour_ratio",
        RATIO,
        "Flux of the brightest other source over that of the middle one",
        form=".4g",
    ),
    # Spectra
    "spectrum_id": ColumnSpec("source_id", "meta.id;src", "From the header or the name of the file"),
    "spectrum_member": ColumnSpec(
        "member", "meta.id.part;meta.file", "Name of the spectrum in the archive source_file"
    ),
    "spectrum_name": ColumnSpec("identifier", "meta.id", "From the names of the files by {pattern}"),
    "spectrum_header": ColumnSpec("header", "meta.note", "Key {word} of the headers of the spectra"),
    "spectrum_ra": ColumnSpec("ra", "pos.eq.ra;meta.main", "Right ascension of the object", "deg", ".6f"),
    "spectrum_dec": ColumnSpec("dec", "pos.eq.dec;meta.main", "Declination of the object", "deg", ".6f"),
    "redshift": ColumnSpec("redshift", "src.redshift", "Redshift from {origin}", form=".5f"),
    "redshift_warning": ColumnSpec(
        "redshift_warning", "meta.code.qual;src.redshift", "ZWARNING of the files; 0 if all is well"
    ),
    "object_class": ColumnSpec("object_class", "src.class", "CLASS of the files"),
    "spectrum_coverage": ColumnSpec(
        "coverage", RATIO, "Share of the pixels of the grid that the spectrum has", form=".4f"
    ),
    "snr_median": ColumnSpec(
        "snr_median", "stat.snr;stat.median", "Median of flux over error where pixels count", form=".3f"
    ),
    "spectrum_bad": ColumnSpec("spectrum_bad", "meta.code.qual", "Whether there is no usable spectrum"),
    "flux": ColumnSpec("flux", "phot.flux.density;em.wl", "Flux at {grid}"),
    "ivar": ColumnSpec(
        "ivar", "stat.weight;phot.flux.density", "Inverse variance of flux, 0 where a pixel must not count"
    ),
    # Spectra brought to one scale
    "flux_norm": ColumnSpec(
        "flux_norm", "arith.factor;phot.flux.density", "What the spectrum was divided by: {how}"
    ),
    "continuum": ColumnSpec(
        "continuum", "phot.flux.density;spect.continuum", "Fitted continuum that the spectrum was divided by"
    ),
}
