"""Traces of KVM's tracepoints, recorded on a host: read as events, or counted without building any.

The files are those of ftrace: text of tracefs, ``trace-cmd report`` and ``perf script``, and
trace-cmd's ``trace.dat`` itself.
"""
