"""Catalogues of photographs: formats, tables, filters, problems, and the described catalogue."""
