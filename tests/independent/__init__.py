"""A client written from the documentation alone: does docs/ say all that another client needs?"""
