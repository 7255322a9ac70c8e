"""Words and tables as pages show them."""

import pandas as pd

from bertprune.base.shown import Prose


def test_cells_of_a_list_name_their_column_and_are_escaped() -> None:
    table = pd.DataFrame({"a < b": ["x & y"]}, index=["C1"])
    assert (
        '<td><span class="of">a &lt; b:</span> x &amp; y</td>'
        in Prose(table, is_list=True)._repr_html_()
    )
    assert "<td>x &amp; y</td>" in Prose(table)._repr_html_()
