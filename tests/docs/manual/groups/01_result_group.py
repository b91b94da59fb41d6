# result group example
from django_q.tasks import async_task, result_group
for i in range(4):
    async_task('math.modf', i, group='modf')
# wait until the group has 4 results
result = result_group('modf', count=4)
print(result)
