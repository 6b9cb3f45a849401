//! Networks in namespaces, from data files.
