"""The keys of the formats of annotation files (`recognise.FORMATS`), as options and configurations name them."""

AUTO = "auto"  # in this and other fields: chosen automatically, as a file's format is by its content
KEYS = (
    "table",
    "activitynet",
    "detections",
    "boris",
    "boris-events",
    "elan",
    "via-csv",
    "via",
    "label-studio",
    "label-studio-min",
    "label-studio-csv",
    "cvat",
    "charades",
    "epic-kitchens",
    "thumos",
    "soccernet",
    "gmdcsa24",
)
