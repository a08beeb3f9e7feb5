"""Plan how a model runs on a machine, and how fast: pure functions of a GGUF header and a machine.

Loads and generates nothing. In the order of use:

* :mod:`.machine.probe` probes this machine, or describes another;
* :mod:`.search` finds the load config that fits it (``make_plan``), within what the user decided
  (``Overrides``);
* :mod:`.memory.footprint` says what a load config takes, in closed forms and a mirror of
  llama.cpp's allocator; on this machine llama.cpp has the last word (:mod:`dslocal.engine.sizing`);
* :mod:`.speed` forecasts tokens per second; :mod:`.assessment` puts all of that together for one
  model;
* :mod:`.refusal` words what does not fit; :mod:`.mtp_file` joins an MTP layer in a file of its own;
  :mod:`.parameter_count` counts weights.
"""
