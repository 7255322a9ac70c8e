"""The book: tables, figures and pages."""
