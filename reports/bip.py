"""What training intrinsic numbers adds by itself."""

from plastic_search.report.report import Report

REPORT = Report(
    study="bip",
    answer="Training adds most: all four numbers of every unit, trained, add more than twice what drawing them adds. "
    "Variety alone helps, too: numbers that are drawn and then left as they are. As many parameters in more units add "
    "next to nothing.\n\n"
    "Alone, time constants of membranes, thresholds and resistances each add about half of what all four add together; "
    "time constants of synaptic currents add nothing here. Where training starts, alike or drawn, makes little "
    "difference.\n\n"
    "What raises the score raises firing as well: units whose numbers are trained or drawn fire more. Threshold and "
    "resistance are gains of a unit, so part of what they add may be that units which rarely fire come to fire. A "
    "control whose fixed units fire as much was not run. Training is short, 200 updates, so what learns faster is "
    "ahead.",
)
