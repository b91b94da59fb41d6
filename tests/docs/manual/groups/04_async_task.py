from django_q.tasks import AsyncTask
# add a task to the math group and run it cached
a = AsyncTask('math.floor', 2.5, group='math', cached=True)
a.run()
# wait until this tasks group has 10 results
result = a.result_group(count=10)
