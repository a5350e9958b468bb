//! Logs: who reads them and in which form.
