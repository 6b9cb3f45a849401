//! Network namespaces of the tools.
