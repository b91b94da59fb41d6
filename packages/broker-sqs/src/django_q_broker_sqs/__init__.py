"""The Amazon SQS broker of Django Q."""
