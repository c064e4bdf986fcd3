"""On the path of the tests' pipelines: Arrow imports pandas, if it is installed, with the first list that it converts.
That takes a quarter of a second in each of their processes."""

raise ImportError("the pipelines of tests run without pandas")
