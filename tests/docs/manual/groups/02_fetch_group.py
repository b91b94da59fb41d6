# fetch group example
from django_q.tasks import fetch_group, count_group, result_group
# count the number of failures
failure_count = count_group('modf', failures=True)
# only use the successes
results = fetch_group('modf')
if failure_count:
    results = results.exclude(success=False)
results = [task.result for task in results]
# this is the same as
results = fetch_group('modf', failures=False)
results = [task.result for task in results]
# and the same as
results = result_group('modf') # filters failures by default
