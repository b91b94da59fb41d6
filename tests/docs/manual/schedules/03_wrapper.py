# tasks.py
from django.core import management
# wrapping `manage.py clearsessions`
def clear_sessions_command():
    return management.call_command('clearsessions')
# now you can schedule it to run every hour
from django_q.tasks import schedule
schedule('tasks.clear_sessions_command', schedule_type='H')
