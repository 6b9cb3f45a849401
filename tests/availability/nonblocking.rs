//! Programs whose connect() does not wait.
