# Lost in extraction: written anew
from django_q.tasks import schedule
# run `manage.py clearsessions` every hour
schedule('django.core.management.call_command',
         'clearsessions',
         schedule_type='H')
