# Report generation with hook example
from django_q.tasks import async_task
# views.py
# user requests a report.
def create_report(request):
    async_task('tasks.create_html_report',
        request.user,
        hook='tasks.email_report')
