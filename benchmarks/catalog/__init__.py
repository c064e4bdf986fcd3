"""The catalog of a store: tables over all of its runs, models and scores, in STORE/catalog/.

records/NAME.json          the rows of one finished artifact or run, for all tables; written once, never changed
question_scores/benchmark=B/model=M/RECORD.parquet
                           the correct samples of each question of one model on one benchmark
TABLE.parquet              all rows of a table, for reading; rewritten from the records, and never older than the last
                           command that read the catalog
"""
