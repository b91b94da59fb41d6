# tasks.py
from django_q.tasks import async_task
# report generator
def create_html_report(user):
    html_report = 'We had a great guarter!'
    return html_report
# report mailer
def email_report(task):
    if task.success:
        # Email the report
        async_task('django.core.mail.send_mail',
                'The report you requested',
                task.result,
                'from@example.com',
                [task.args[0].email])
    else:
        # Tell the admins something went wrong
        async_task('django.core.mail.mail_admins',
                'Report generation failed',
                task.result)
