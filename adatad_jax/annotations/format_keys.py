"""The keys of the formats of annotation files (`recognise.FORMATS`), as options and configurations name them."""

AUTO = "auto"  # of this and other fields: what fits is found out, such as a file's format by its content
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
