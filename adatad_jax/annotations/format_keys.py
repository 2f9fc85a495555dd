"""The keys of the formats of annotation files (`recognise.FORMATS`), as options and configurations name them."""

AUTO = "auto"  # stands for any format: the content tells
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
