# to capture the output we'll need a pipe
from django_q.tasks import async_task, result
from subprocess import PIPE
# call ls -l and pipe the output
tid = async_task('subprocess.run', ['ls', '-l'], stdout=PIPE)
# get the result
res = result(tid, 500)
# print the output
print(res.stdout)
